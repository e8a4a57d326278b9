-- Snowplow: enriched events as the analytics SDKs write them as JSON, one a line. Shopping comes from the Snowplow
-- e-commerce plug-in (an action, with products and a transaction as entities), search from the site search plug-in,
-- and purchases of the older `transaction` event, which has no lines. An action on several products, as on a cart, is
-- an event per product; a page with several is one view.
WITH found AS NOT MATERIALIZED (
  SELECT unnest(from_json(j, '{"event_id": "VARCHAR", "event": "VARCHAR", "event_name": "VARCHAR",
    "user_id": "VARCHAR", "domain_userid": "VARCHAR", "network_userid": "VARCHAR", "domain_sessionid": "VARCHAR",
    "derived_tstamp": "VARCHAR", "collector_tstamp": "VARCHAR", "user_ipaddress": "VARCHAR",
    "geo_country": "VARCHAR", "useragent": "VARCHAR", "page_url": "VARCHAR", "dvce_type": "VARCHAR",
    "br_family": "VARCHAR", "br_name": "VARCHAR", "tr_orderid": "VARCHAR", "tr_total": "VARCHAR",
    "tr_currency": "VARCHAR",
    "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1": {"type": "VARCHAR"},
    "unstruct_event_com_snowplowanalytics_snowplow_site_search_1": {"terms": ["VARCHAR"], "totalResults": "VARCHAR"},
    "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1": [{"id": "VARCHAR", "name": "VARCHAR",
      "category": "VARCHAR", "price": "VARCHAR", "quantity": "VARCHAR"}],
    "contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1": [{"transaction_id": "VARCHAR",
      "revenue": "VARCHAR", "currency": "VARCHAR", "payment_method": "VARCHAR"}]}'))
  FROM input
),
named AS NOT MATERIALIZED (
  SELECT * REPLACE (known(domain_userid) AS domain_userid, known(network_userid) AS network_userid,
      known(domain_sessionid) AS domain_sessionid),
    unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1.type AS action,
    contexts_com_snowplowanalytics_snowplow_ecommerce_product_1 AS products,
    contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1[1] AS t,
    unstruct_event_com_snowplowanalytics_snowplow_site_search_1 AS search,
    coalesce(known(derived_tstamp), collector_tstamp) AS said,
    coalesce(action, event_name, event) AS kind,
    CASE WHEN search IS NOT NULL THEN 'search' ELSE MAP {
      'page_view': 'page_view',
      'product_view': 'product_view',
      'list_click': 'click',
      'remove_from_cart': 'click',
      'add_to_cart': 'add_to_cart',
      'transaction': 'purchase',
      'trns_error': 'purchase'
    }[coalesce(action, event)] END AS event_type
  FROM found
),
each AS NOT MATERIALIZED (
  SELECT *, unnest(range(1, greatest(2, CASE WHEN is_of_product(event_type) THEN len(products) + 1 END))) AS place
  FROM named
)
SELECT numbered(event_id, place) AS event_id, event_type,
  coalesce(known(user_id), domain_userid, network_userid) AS user_id,
  moment_of(said) AS moment, said,
  json_object(
    'session_id', domain_sessionid,
    'device_id', coalesce(domain_userid, network_userid),
    'ip', user_ipaddress,
    'country', geo_country,
    'user_agent', useragent) AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object(
      'page_url', page_url,
      'device', lower(dvce_type),
      'browser', coalesce(br_family, br_name))
    WHEN 'search' THEN json_object(
      'query', array_to_string(search.terms, ' '),
      'results_count', number(search.totalResults))
    WHEN 'purchase' THEN json_object(
      'order_id', coalesce(known(t.transaction_id), known(tr_orderid)),
      'total_amount', number(coalesce(t.revenue, tr_total)),
      'currency', coalesce(t.currency, tr_currency),
      'payment_method', t.payment_method,
      'payment_status', CASE action WHEN 'trns_error' THEN 'declined' END,
      'products', list_transform(products, lambda line: whole(json_object(
        'product_id', known(line.id),
        'quantity', number(line.quantity),
        'price', number(line.price)))))
    ELSE json_object(
      'product_id', known(products[place].id),
      'product_name', products[place].name,
      'category', products[place].category,
      'price', number(products[place].price),
      'quantity', CASE event_type WHEN 'add_to_cart' THEN number(products[place].quantity) END,
      'page_url', page_url,
      'element', CASE event_type WHEN 'click' THEN action END)
  END AS data,
  kind
FROM each
