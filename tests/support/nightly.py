"""Which of the tests marked `nightly` run on which day: an eighth each, so that eight days run all but those BY_HAND.

Names are beginnings of test ids. A share has one test with a platform of its own, and some on the shared one.
"""

SHARES: tuple[tuple[str, ...], ...] = (
    (
        "tests/e2e/test_quarantine_desk.py",
        "tests/e2e/shop/test_crashes.py::test_kill_under_load[batch worker]",
        "tests/e2e/shop/test_trust.py",
    ),
    (
        "tests/aws/test_kafka_tls.py",
        "tests/e2e/test_kafka_as_it_is.py",
        "tests/e2e/shop/test_crashes.py::test_kill_under_load[stream]",
        "tests/e2e/shop/test_numbers.py",
    ),
    (
        "tests/e2e/test_backup_beside_stream.py",
        "tests/e2e/shop/test_crashes.py::test_kill_under_load[kafka]",
        "tests/e2e/shop/test_forget_tables.py",
        "tests/e2e/shop/test_readme.py",
        "tests/lakehouse/serving/test_trace_time.py",
    ),
    (
        "tests/e2e/test_docs.py",
        "tests/e2e/shop/test_crashes.py::test_kill_under_load[spark]",
    ),
    (
        "tests/api/test_api_crashes.py",
        "tests/e2e/test_forget.py",
        "tests/e2e/shop/test_crashes.py::test_kill_under_load[s3]",
        "tests/e2e/shop/test_trust_replays.py",
    ),
    (
        "tests/benchmarks/test_fraud_quality.py",
        "tests/e2e/test_fuzz_whole_way.py",
        "tests/e2e/shop/test_crashes.py::test_a_deleted_checkpoint",
        "tests/e2e/shop/test_up_and_down.py",
    ),
    (
        "tests/e2e/test_s3_tls.py",
        "tests/e2e/shop/test_crashes.py::test_a_restored_older_checkpoint",
        "tests/e2e/shop/test_runs.py",
    ),
    (
        "tests/dashboards/test_superset_options.py",
        "tests/e2e/shop/test_api.py",
        "tests/e2e/shop/test_crashes.py::test_a_batch_that_was_cut_off",
        "tests/e2e/shop/test_crashes.py::test_a_product_leaves_the_rolling_hour",
        "tests/e2e/shop/test_docs_quality.py",
        "tests/e2e/shop/test_maintenance.py",
        "tests/e2e/shop/test_unread.py",
    ),
)
BY_HAND = {
    "tests/aws/test_bootstrap.py": "installs every package of a release",
    "tests/aws/test_clean_root.py": "boots a new Debian as root, and installs a release in it",
    "tests/e2e/shop/test_readers.py": "reads for ten minutes; `make test` does so for ten seconds",
    "tests/e2e/test_demo_killed.py": "a demo with five parts killed in it; `make demo` is in .ci/run as it is",
    "tests/e2e/test_schema_under_load.py": "starts the stream eleven times; `make test` has each step of a change",
    "tests/e2e/test_spark_cluster.py": "kills workers and the driver of a cluster under load",
    "tests/e2e/test_yarn.py": "kills executors and the driver on YARN under load",
}
"""Those that alone take longer than a share may, and why; `make test-nightly` runs them, too."""


def shares_of(test_id: str) -> list[str]:
    """The numbers of the shares that name the test, and `by hand`."""
    found = [str(number) for number, names in enumerate(SHARES) if test_id.startswith(names)]
    return found + ["by hand"] * test_id.startswith(tuple(BY_HAND))
