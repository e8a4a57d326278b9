-- Segment and RudderStack: page calls, and track calls of the e-commerce spec, one JSON object a line.
WITH calls AS (
  SELECT *, json_extract(j, '$.properties') AS p, json_extract(j, '$.context') AS c, j ->> 'event' AS event,
    coalesce(j ->> 'timestamp', j ->> 'originalTimestamp', j ->> 'sentAt', j ->> 'receivedAt') AS said,
    CASE j ->> 'type' WHEN 'page' THEN 'page_view' WHEN 'track' THEN MAP {
      'product viewed': 'product_view',
      'product clicked': 'click',
      'product removed': 'click',
      'product added': 'add_to_cart',
      'product added to wishlist': 'add_to_wishlist',
      'order completed': 'purchase',
      'products searched': 'search'
    }[lower(j ->> 'event')] END AS event_type
  FROM input
)
SELECT j ->> 'messageId' AS event_id, event_type,
  coalesce(known(j ->> 'userId'), known(j ->> 'anonymousId')) AS user_id,
  CASE WHEN regexp_matches(said, '([Zz]|[+-]\d\d:?\d\d)$') THEN moment_of(said) END AS moment, said,
  json_object(
    'session_id', known(c ->> 'sessionId'),
    'device_id', coalesce(known(c ->> '$.device.id'), known(j ->> 'anonymousId')),
    'ip', c ->> 'ip',
    'country', CASE WHEN length(c ->> '$.location.country') = 2 THEN c ->> '$.location.country' END,
    'user_agent', c ->> 'userAgent') AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object('page_url', coalesce(p ->> 'url', c ->> '$.page.url'))
    WHEN 'search' THEN json_object('query', p ->> 'query')
    WHEN 'purchase' THEN json_object(
      'order_id', known(p ->> 'order_id'),
      'total_amount', number(coalesce(p ->> 'total', p ->> 'revenue', p ->> 'value')),
      'currency', p ->> 'currency',
      'payment_method', p ->> 'payment_method',
      'products', list_transform(json_extract(p, '$.products[*]'), lambda line: whole(json_object(
        'product_id', coalesce(known(line ->> 'product_id'), known(line ->> 'sku')),
        'quantity', number(line ->> 'quantity'),
        'price', number(line ->> 'price')))))
    ELSE json_object(
      'product_id', coalesce(known(p ->> 'product_id'), known(p ->> 'sku')),
      'product_name', p ->> 'name',
      'category', p ->> 'category',
      'price', number(p ->> 'price'),
      'quantity', number(p ->> 'quantity'),
      'page_url', coalesce(p ->> 'url', c ->> '$.page.url'),
      'element', CASE event_type WHEN 'click' THEN event END)
  END AS data,
  coalesce(event, j ->> 'type') AS kind
FROM calls
