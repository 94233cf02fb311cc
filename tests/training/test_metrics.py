import json

from heedful.training.metrics import MetricsFile, read_metrics


def test_resuming_cuts_later_lines_and_a_half_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, None)
    for step in (1, 2, 3):
        file.write({"step": step, "loss": 1.0 / step})
    file.close()
    with path.open("a") as raw:
        raw.write('{"step": 4, "lo')
    resumed = MetricsFile(path, 2)
    resumed.write({"step": 3, "loss": 9.0})
    resumed.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]
    assert read_metrics(path)[-1]["loss"] == 9.0


def test_numbers_come_back_exactly_and_others_as_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, None)
    value = 0.1 + 0.2
    file.write({"step": 1, "loss": value, "bad": float("nan"), "worse": float("inf")})
    file.close()
    row = json.loads(path.read_text())
    assert row == {"step": 1, "loss": value, "bad": None, "worse": None}


def test_a_new_file_forgets_the_old_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    MetricsFile(path, None).close()
    assert read_metrics(path) == []
