-- REES46: "eCommerce behavior data from multi category store" and the sets of its cosmetics and electronics shops.
-- One row per product. There is no order id: what a user buys in one session is one order; without a session, what
-- they buy in one second. A row that stands twice is one line. Some "prices" of purchases are below zero: discounts.
WITH found AS NOT MATERIALIZED (
  SELECT *, 'r' || digest(input::VARCHAR) AS row_id, moment_of(event_time) AS moment,
    'o' || digest(concat_ws(' ', user_id, coalesce(user_session, event_time))) AS order_id
  FROM input
),
orders AS (
  SELECT order_id, event_type, event_time, user_id, user_session, list_sort(list_distinct(list(
    {moment: moment, row_id: row_id, product_id: product_id, price: price}) OVER one_order)) AS lines
  FROM found WHERE event_type = 'purchase'
  WINDOW one_order AS (PARTITION BY order_id)
  QUALIFY row_number() OVER one_order = 1
),
read AS (
  SELECT *, lines[1].moment AS moment, lines[1].row_id AS row_id, json_object(
    'order_id', order_id,
    'total_amount', number(coalesce(list_sum([amount(line.price) for line in lines]), 0)::VARCHAR),
    'products', [whole(json_object('product_id', line.product_id, 'quantity', 1,
      'price', CASE WHEN amount(line.price) < 0 THEN NULL ELSE number(line.price) END,
      'discount', CASE WHEN amount(line.price) < 0 THEN number((-amount(line.price))::VARCHAR) END))
      for line in lines]) AS data
  FROM orders
  UNION ALL BY NAME
  SELECT *, json_object('product_id', product_id, 'category', category_code, 'price', number(price), 'brand', brand,
    'category_id', category_id, 'quantity', CASE event_type WHEN 'cart' THEN 1 END,
    'element', CASE event_type WHEN 'remove_from_cart' THEN event_type END) AS data
  FROM found WHERE event_type IS DISTINCT FROM 'purchase'
)
SELECT row_id AS event_id,
  coalesce(MAP {'view': 'product_view', 'cart': 'add_to_cart', 'remove_from_cart': 'click'}[event_type], event_type, '')
    AS event_type,
  'u' || user_id AS user_id, moment, event_time AS said, json_object('session_id', user_session) AS context, data,
  event_type AS kind
FROM read
