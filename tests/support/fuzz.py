"""What must become of each kind of odd record, written down a second time: apart from where the kinds are made."""

REASON_OF_KIND: dict[str, str | None] = {
    kind: reason
    for reason, kinds in {
        "tombstone": "tombstone",
        "empty_value": "empty white_space",
        "not_json": "truncated not_json trailing_garbage two_objects doubled_key deep_nesting nan_price",
        "not_an_object": "array number string null",
        "invalid_utf8": "invalid_utf8",
        "too_large": "oversized",
        "schema_registry_prefix": "schema_registry_prefix",
        "missing_field": "missing_event_id missing_event_type missing_user_id missing_timestamp null_event_id"
        " view_without_product purchase_without_order purchase_without_amount search_without_query",
        "bad_length": "empty_user_id long_event_id long_user_agent long_query",
        "wrong_type": "numeric_user_id object_event_id text_version data_is_list context_is_text numeric_device"
        " text_price boolean_quantity fractional_quantity products_not_list seconds_as_number milliseconds_as_number",
        "bad_text": "nul_in_user_id half_surrogate",
        "unknown_type": "unknown_type",
        "unknown_version": "unknown_version",
        "wrong_topic": "wrong_topic",
        "wrong_key": "wrong_key",
        "out_of_range": "zero_quantity huge_quantity negative_amount negative_results infinite_price"
        " odd_payment_status negative_line",
        "bad_timestamp": "no_zone impossible_date local_format seconds_as_text",
        "timestamp_in_future": "ten_minutes_ahead years_ahead",
        "timestamp_too_old": "seconds_for_milliseconds too_old epoch year_one",
        None: "unknown_field unknown_in_data unknown_in_context null_context null_country no_context stated_version"
        " other_offset emoji null_price most_quantity free longest_id almost_five_minutes_ahead almost_too_old",
    }.items()
    for kind in kinds.split()
}
