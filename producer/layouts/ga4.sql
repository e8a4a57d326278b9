-- GA4: rows of the BigQuery export (events_YYYYMMDD, events_intraday_YYYYMMDD) as JSON lines. Rows have no id: it is
-- made of what tells two rows of a user apart. Those of one batch may share time and name: older exports do not number
-- them, so what they say counts. "(not set)" is Google's word for nothing. A row with several items
-- that is no purchase is an event per item.
WITH found AS (
  SELECT *, j ->> 'event_name' AS kind, json_extract(j, '$.items[*]') AS items, MAP {
      'page_view': 'page_view',
      'view_item': 'product_view',
      'select_item': 'click',
      'click': 'click',
      'remove_from_cart': 'click',
      'add_to_cart': 'add_to_cart',
      'add_to_wishlist': 'add_to_wishlist',
      'purchase': 'purchase',
      'search': 'search',
      'view_search_results': 'search'
    }[j ->> 'event_name'] AS event_type
  FROM input
),
each AS (
  SELECT *, unnest(range(1, greatest(2, CASE event_type WHEN 'purchase' THEN 0 ELSE len(items) + 1 END))) AS place
  FROM found
)
SELECT
  numbered('g' || digest(concat_ws(' ', j ->> 'stream_id', j ->> 'user_pseudo_id', j ->> 'event_timestamp', kind,
    j ->> 'event_bundle_sequence_id', j ->> 'batch_page_id', j ->> 'batch_ordering_id', coalesce(j ->> 'batch_event_index', concat(j -> 'event_params', j -> 'items')))),
    place) AS event_id,
  event_type,
  coalesce(known(j ->> 'user_id'), j ->> 'user_pseudo_id') AS user_id,
  moment_of_micros(j ->> 'event_timestamp') AS moment, j ->> 'event_timestamp' AS said,
  json_object(
    'session_id', (j ->> 'user_pseudo_id') || '.' || param_text(j, 'ga_session_id'),
    'device_id', j ->> 'user_pseudo_id') AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object(
      'page_url', param_text(j, 'page_location'),
      'device', j ->> '$.device.category',
      'browser', known(j ->> '$.device.web_info.browser'))
    WHEN 'search' THEN json_object('query', param_text(j, 'search_term'))
    WHEN 'purchase' THEN json_object(
      'order_id', known(coalesce(j ->> '$.ecommerce.transaction_id', param_text(j, 'transaction_id'))),
      'total_amount', number(coalesce(j ->> '$.ecommerce.purchase_revenue', param_text(j, 'value'))),
      'currency', param_text(j, 'currency'),
      'payment_method', param_text(j, 'payment_type'),
      'products', list_transform(items, lambda item: whole(json_object(
        'product_id', known(item ->> 'item_id'),
        'quantity', number(item ->> 'quantity'),
        'price', number(item ->> 'price')))))
    ELSE json_object(
      'product_id', known(items[place] ->> 'item_id'),
      'product_name', known(items[place] ->> 'item_name'),
      'category', known(items[place] ->> 'item_category'),
      'price', number(items[place] ->> 'price'),
      'quantity', CASE event_type WHEN 'add_to_cart' THEN number(items[place] ->> 'quantity') END,
      'page_url', param_text(j, 'page_location'),
      'element', CASE event_type WHEN 'click' THEN kind END)
  END AS data,
  kind
FROM each
