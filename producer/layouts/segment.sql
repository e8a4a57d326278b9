-- Segment and RudderStack: page calls, and track calls of the e-commerce spec, one JSON object a line.
WITH found AS NOT MATERIALIZED (
  SELECT unnest(from_json(j, '{"messageId": "VARCHAR", "type": "VARCHAR", "event": "VARCHAR", "userId": "VARCHAR",
    "anonymousId": "VARCHAR", "timestamp": "VARCHAR", "originalTimestamp": "VARCHAR", "sentAt": "VARCHAR",
    "receivedAt": "VARCHAR", "context": {"sessionId": "VARCHAR", "device": {"id": "VARCHAR"}, "ip": "VARCHAR",
      "location": {"country": "VARCHAR"}, "userAgent": "VARCHAR", "page": {"url": "VARCHAR"}},
    "properties": {"url": "VARCHAR", "query": "VARCHAR", "order_id": "VARCHAR", "total": "VARCHAR",
      "revenue": "VARCHAR", "value": "VARCHAR", "currency": "VARCHAR", "payment_method": "VARCHAR",
      "product_id": "VARCHAR", "sku": "VARCHAR", "name": "VARCHAR", "category": "VARCHAR", "price": "VARCHAR",
      "quantity": "VARCHAR", "products": "JSON"}}'))
  FROM input
),
calls AS NOT MATERIALIZED (
  SELECT *, properties AS p, context AS c,
    coalesce("timestamp", originalTimestamp, sentAt, receivedAt) AS said,
    CASE type WHEN 'page' THEN 'page_view' WHEN 'track' THEN MAP {
      'product viewed': 'product_view',
      'product clicked': 'click',
      'product removed': 'click',
      'product added': 'add_to_cart',
      'product added to wishlist': 'add_to_wishlist',
      'order completed': 'purchase',
      'products searched': 'search'
    }[lower(event)] END AS event_type
  FROM found
)
SELECT messageId AS event_id, event_type,
  coalesce(known(userId), known(anonymousId)) AS user_id,
  CASE WHEN regexp_matches(said, '([Zz]|[+-]\d\d:?\d\d)$') THEN moment_of(said) END AS moment, said,
  json_object(
    'session_id', known(c.sessionId),
    'device_id', coalesce(known(c.device.id), known(anonymousId)),
    'ip', c.ip,
    'country', CASE WHEN length(c.location.country) = 2 THEN c.location.country END,
    'user_agent', c.userAgent) AS context,
  CASE event_type
    WHEN 'page_view' THEN json_object('page_url', coalesce(p.url, c.page.url))
    WHEN 'search' THEN json_object('query', p.query)
    WHEN 'purchase' THEN json_object(
      'order_id', known(p.order_id),
      'total_amount', number(coalesce(known(p.total), known(p.revenue), p.value)),
      'currency', p.currency,
      'payment_method', p.payment_method,
      'products', CASE json_type(p.products) WHEN 'ARRAY' THEN
        to_json(list_transform(json_extract(p.products, '$[*]'), lambda line: CASE json_type(line) WHEN 'OBJECT' THEN
          whole(json_object(
            'product_id', coalesce(known(line->>'product_id'), known(line->>'sku')),
            'quantity', number(line->>'quantity'),
            'price', number(line->>'price')))
        ELSE line END)) ELSE p.products END)
    ELSE json_object(
      'product_id', coalesce(known(p.product_id), known(p.sku)),
      'product_name', p.name,
      'category', p.category,
      'price', number(p.price),
      'quantity', number(p.quantity),
      'page_url', coalesce(p.url, c.page.url),
      'element', CASE event_type WHEN 'click' THEN event END)
  END AS data,
  coalesce(event, type) AS kind
FROM calls
