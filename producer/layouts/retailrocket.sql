-- RetailRocket: events.csv, not sorted by time. One row per product; the rows of a transaction are one order.
-- A row that stands twice is one line. There are no prices, so orders amount to 0.
WITH found AS NOT MATERIALIZED (
  SELECT *, 'r' || digest(input::VARCHAR) AS row_id, moment_of_micros("timestamp" || '000') AS moment,
    coalesce(transactionid, 'o' || digest(concat_ws(' ', visitorid, "timestamp"))) AS order_id
  FROM input
),
orders AS (
  SELECT order_id, visitorid, "timestamp", event, list_sort(list_distinct(list(
    {moment: moment, row_id: row_id, product_id: itemid}) OVER one_order)) AS lines
  FROM found WHERE event = 'transaction'
  WINDOW one_order AS (PARTITION BY visitorid, order_id)
  QUALIFY row_number() OVER one_order = 1
),
read AS (
  SELECT *, lines[1].moment AS moment, lines[1].row_id AS row_id, json_object('order_id', order_id, 'total_amount', 0,
    'products', [json_object('product_id', line.product_id, 'quantity', 1) for line in lines]) AS data
  FROM orders
  UNION ALL BY NAME
  SELECT *, json_object('product_id', itemid, 'quantity', CASE event WHEN 'addtocart' THEN 1 END) AS data
  FROM found WHERE event IS DISTINCT FROM 'transaction'
)
SELECT row_id AS event_id,
  coalesce(MAP {'view': 'product_view', 'addtocart': 'add_to_cart', 'transaction': 'purchase'}[event], event, '')
    AS event_type,
  'u' || visitorid AS user_id, moment, "timestamp" AS said, NULL::JSON AS context, data, event AS kind
FROM read
