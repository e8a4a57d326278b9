-- Snowplow: enriched events as the analytics SDKs write them as JSON, one a line. Shopping comes from the Snowplow
-- e-commerce plug-in (an action, with products and a transaction as entities), search from the site search plug-in,
-- and purchases of the older `transaction` event, which has no lines. An action with several products that is no
-- transaction is an event per product.
WITH found AS (
  SELECT *,
    j ->> '$.unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1.type' AS action,
    json_extract(j, '$.contexts_com_snowplowanalytics_snowplow_ecommerce_product_1[*]') AS products,
    json_extract(j, '$.contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1[0]') AS t,
    json_extract(j, '$.unstruct_event_com_snowplowanalytics_snowplow_site_search_1') AS search,
    coalesce(j ->> 'derived_tstamp', j ->> 'collector_tstamp') AS said
  FROM input
),
named AS (
  SELECT *, coalesce(action, j ->> 'event_name', j ->> 'event') AS kind,
    CASE WHEN search IS NOT NULL THEN 'search' ELSE MAP {
      'page_view': 'page_view',
      'product_view': 'product_view',
      'list_click': 'click',
      'remove_from_cart': 'click',
      'add_to_cart': 'add_to_cart',
      'transaction': 'purchase',
      'trns_error': 'purchase'
    }[coalesce(action, j ->> 'event')] END AS event_type
  FROM found
),
each AS (
  SELECT *, unnest(range(1, greatest(2, CASE event_type WHEN 'purchase' THEN 0 ELSE len(products) + 1 END))) AS place
  FROM named
)
SELECT numbered(j ->> 'event_id', place) AS event_id, event_type,
  coalesce(known(j ->> 'user_id'), j ->> 'domain_userid', j ->> 'network_userid') AS user_id,
  moment_of(said) AS moment, said,
  json_object(
    'session_id', j ->> 'domain_sessionid',
    'device_id', coalesce(j ->> 'domain_userid', j ->> 'network_userid'),
    'ip', j ->> 'user_ipaddress',
    'country', j ->> 'geo_country',
    'user_agent', j ->> 'useragent') AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object(
      'page_url', j ->> 'page_url',
      'device', lower(j ->> 'dvce_type'),
      'browser', coalesce(j ->> 'br_family', j ->> 'br_name'))
    WHEN 'search' THEN json_object(
      'query', array_to_string(json_extract_string(search, '$.terms[*]'), ' '),
      'results_count', number(search ->> 'totalResults'))
    WHEN 'purchase' THEN json_object(
      'order_id', coalesce(known(t ->> 'transaction_id'), known(j ->> 'tr_orderid')),
      'total_amount', number(coalesce(t ->> 'revenue', j ->> 'tr_total')),
      'currency', coalesce(t ->> 'currency', j ->> 'tr_currency'),
      'payment_method', t ->> 'payment_method',
      'payment_status', CASE action WHEN 'trns_error' THEN 'declined' END,
      'products', list_transform(products, lambda line: whole(json_object(
        'product_id', known(line ->> 'id'),
        'quantity', number(line ->> 'quantity'),
        'price', number(line ->> 'price')))))
    ELSE json_object(
      'product_id', known(products[place] ->> 'id'),
      'product_name', products[place] ->> 'name',
      'category', products[place] ->> 'category',
      'price', number(products[place] ->> 'price'),
      'quantity', CASE event_type WHEN 'add_to_cart' THEN number(products[place] ->> 'quantity') END,
      'page_url', j ->> 'page_url',
      'element', CASE event_type WHEN 'click' THEN action END)
  END AS data,
  kind
FROM each
