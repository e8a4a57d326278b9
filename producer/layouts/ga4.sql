-- GA4: rows of the BigQuery export (events_YYYYMMDD, events_intraday_YYYYMMDD) as JSON lines. Rows have no id: it is
-- made of what tells two rows of a user apart. Those of one batch may share time and name: older exports do not number
-- them, so what they say counts. "(not set)" is Google's word for nothing. A row about several items, as of a cart, is
-- an event per item.
WITH found AS NOT MATERIALIZED (
  SELECT unnest(from_json(j, '{"event_name": "VARCHAR", "event_timestamp": "VARCHAR", "stream_id": "VARCHAR",
    "user_id": "VARCHAR", "user_pseudo_id": "VARCHAR", "event_bundle_sequence_id": "VARCHAR",
    "batch_page_id": "VARCHAR", "batch_ordering_id": "VARCHAR", "batch_event_index": "VARCHAR",
    "event_params": [{"key": "VARCHAR", "value": {"string_value": "VARCHAR", "int_value": "VARCHAR",
      "double_value": "VARCHAR", "float_value": "VARCHAR"}}],
    "items": [{"item_id": "VARCHAR", "item_name": "VARCHAR", "item_category": "VARCHAR", "price": "VARCHAR",
      "quantity": "VARCHAR"}],
    "device": {"category": "VARCHAR", "web_info": {"browser": "VARCHAR"}},
    "ecommerce": {"transaction_id": "VARCHAR", "purchase_revenue": "VARCHAR"}}'))
  FROM input
),
named AS NOT MATERIALIZED (
  SELECT * REPLACE (known(user_pseudo_id) AS user_pseudo_id), event_name AS kind, MAP {
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
    }[event_name] AS event_type
  FROM found
),
each AS NOT MATERIALIZED (
  SELECT *, unnest(range(1, greatest(2, CASE WHEN is_of_product(event_type) THEN len(items) + 1 END))) AS place
  FROM named
)
SELECT
  numbered('g' || digest(concat_ws(' ', stream_id, user_pseudo_id, event_timestamp, kind, event_bundle_sequence_id,
    batch_page_id, batch_ordering_id, coalesce(batch_event_index, concat(event_params::VARCHAR, items::VARCHAR)))), place) AS event_id,
  event_type,
  coalesce(known(user_id), user_pseudo_id) AS user_id,
  moment_of_micros(event_timestamp) AS moment, event_timestamp AS said,
  json_object(
    'session_id', user_pseudo_id || '.' || param(event_params, 'ga_session_id'),
    'device_id', user_pseudo_id) AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object(
      'page_url', param(event_params, 'page_location'),
      'device', device.category,
      'browser', known(device.web_info.browser))
    WHEN 'search' THEN json_object('query', param(event_params, 'search_term'))
    WHEN 'purchase' THEN json_object(
      'order_id', known(coalesce(ecommerce.transaction_id, param(event_params, 'transaction_id'))),
      'total_amount', number(coalesce(ecommerce.purchase_revenue, param(event_params, 'value'))),
      'currency', known(param(event_params, 'currency')),
      'payment_method', param(event_params, 'payment_type'),
      'products', list_transform(items, lambda item: whole(json_object(
        'product_id', known(item.item_id),
        'quantity', number(item.quantity),
        'price', number(item.price)))))
    ELSE json_object(
      'product_id', known(items[place].item_id),
      'product_name', known(items[place].item_name),
      'category', known(items[place].item_category),
      'price', number(items[place].price),
      'quantity', CASE event_type WHEN 'add_to_cart' THEN number(items[place].quantity) END,
      'page_url', param(event_params, 'page_location'),
      'element', CASE event_type WHEN 'click' THEN kind END)
  END AS data,
  kind
FROM each
