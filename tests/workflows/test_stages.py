from __future__ import annotations

import pytest

from heedful.workflows.stages import Stages


class Workflow:
    """Two stages that count how often they work; the second reads the first's file."""

    def __init__(self, out):
        self.out, self.worked, self.said = out, [], []

    def run(self, seed=0, fail=False, continues=False):
        stages = Stages(self.out, self.said.append)
        a, b = self.out / "a.txt", self.out / "b.txt"

        def first():
            self.worked.append("a")
            a.write_text(str(seed))

        def second():
            self.worked.append("b")
            b.write_text((b.read_text() if b.exists() else "") + "b")
            if fail:
                raise KeyboardInterrupt

        stages.run("a", first, inputs={"seed": seed}, outputs=[a])
        stages.run("b", second, after=["a"], outputs=[b], continues=continues)
        return stages, b.read_text()


def test_a_finished_stage_is_not_done_again(tmp_path):
    flow = Workflow(tmp_path)
    first, _ = flow.run()
    again, _ = flow.run()
    assert flow.worked == ["a", "b"]
    assert again.seconds == pytest.approx(first.seconds, abs=0.01)
    assert flow.said[-1].startswith("b: done before")


def test_other_inputs_begin_again_from_there(tmp_path):
    flow = Workflow(tmp_path)
    flow.run(seed=0)
    flow.run(seed=1)
    assert flow.worked == ["a", "b", "a", "b"]


def test_a_lost_output_is_made_again(tmp_path):
    flow = Workflow(tmp_path)
    flow.run()
    (tmp_path / "b.txt").unlink()
    flow.run()
    assert flow.worked == ["a", "b", "b"]


@pytest.mark.parametrize(("continues", "left"), [(False, "b"), (True, "bb")])
def test_a_killed_stage_starts_over_or_goes_on(tmp_path, continues, left):
    flow = Workflow(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        flow.run(fail=True, continues=continues)
    assert flow.run(continues=continues)[1] == left
    assert flow.worked == ["a", "b", "b"]


def test_a_killed_stage_with_other_inputs_does_not_go_on(tmp_path):
    flow = Workflow(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        flow.run(seed=0, fail=True, continues=True)
    assert flow.run(seed=1, continues=True)[1] == "b"
