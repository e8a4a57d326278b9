-- What the layouts share. A value that cannot be read stays what it was, so that quarantine can show it.

CREATE MACRO digest(said) AS left(md5(said), 16);

-- A number to nine places, from a number or the text of one. DuckDB would read 1_000, too.
CREATE MACRO amount(said) AS CASE WHEN said NOT LIKE '%\_%' ESCAPE '\' THEN try_cast(said AS DECIMAL(28, 9)) END;
-- The same for JSON: a text with a mark, which `told` takes away. As a number of JSON, DuckDB would make it a double.
-- An empty text is no number.
CREATE MACRO number(said) AS
  to_json(coalesce(chr(1) || rtrim(rtrim(amount(said)::VARCHAR, '0'), '.'), CASE WHEN trim(said) <> '' THEN said END));
CREATE MACRO told(event) AS regexp_replace(event::VARCHAR, '"\\u0001(-?[0-9.]+)"', '\1', 'g');

-- UTC; a time without a zone counts as UTC. DuckDB would read `epoch` and years before Christ, too.
CREATE MACRO moment_of(said) AS
  CASE WHEN regexp_matches(said, '^\d{4}-[^(]*$') THEN try_cast(said AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END;
CREATE MACRO moment_of_micros(said) AS try(make_timestamp(try_cast(said AS BIGINT)));

CREATE MACRO whole(fields) AS json_merge_patch('{}', fields);  -- without the fields that are null
CREATE MACRO is_of_product(event_type) AS
  event_type IN ('product_view', 'click', 'add_to_cart', 'add_to_wishlist');
CREATE MACRO numbered(id, place) AS id || CASE WHEN place > 1 THEN '.' || place ELSE '' END;

-- Words for nothing: none, Google's, and what programs write for an id that they do not have.
CREATE MACRO known(said) AS CASE WHEN trim(said) NOT IN
  ('', '(not set)', 'null', 'undefined', 'false', '[]', '{}', '[object Object]') THEN said END;

-- GA4: a parameter of an event.
CREATE MACRO param(params, name) AS list_transform(list_filter(params, lambda each: each.key = name), lambda each:
  coalesce(each.value.string_value, each.value.int_value, each.value.double_value, each.value.float_value))[1];
