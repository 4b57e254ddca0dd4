import pytest
import torch
from torch import nn

from bn_tutorial.__main__ import main


@pytest.fixture
def state():
    layer = nn.BatchNorm1d(3)
    for _ in range(60):
        layer(torch.randn(8, 3) + 1)
    return layer.state_dict()


def examined(state, path):
    torch.save(state, path)
    return main(["examine", str(path)])


def test_sound_state_ends_with_zero(state, tmp_path, capsys):
    assert examined({"model": state, "epoch": 3}, tmp_path / "state.pt") == 0
    assert capsys.readouterr().out.startswith("HEALTHY")


def test_broken_state_ends_with_one(state, tmp_path, capsys):
    state["running_mean"][0] = torch.nan
    assert examined(state, tmp_path / "state.pt") == 1
    assert "ERROR nan-statistics: 1 of 3 channels" in capsys.readouterr().out


class Code:
    def __reduce__(self):
        return print, ("code of the file",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Code(), "Weights only load failed"),
        (nn.Linear(2, 2), "Weights only load failed"),
        ([1], "it holds a list, expected a dictionary of tensors"),
        ({"weight": torch.ones(2)}, "no running_mean"),
    ],
)
def test_file_that_is_no_state_is_refused_and_its_code_not_run(content, why, tmp_path, capsys):
    path = tmp_path / "state.pt"
    torch.save(content, path)
    with pytest.raises(SystemExit) as ended:
        main(["examine", str(path)])
    output = capsys.readouterr()
    assert ended.value.code == 2
    assert output.err.startswith(f"{path}: ")
    assert why in output.err
    assert len(output.err.splitlines()) == 1
    assert "code of the file" not in output.out


def test_help_says_what_is_examined(capsys):
    for arguments in (["--help"], ["examine", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "usage: python -m bn_tutorial [-h] {examine}" in said
    assert "prints what a saved state alone shows" in said
    assert "examine what a saved state alone shows" in said
    assert "state a file that torch.save wrote" in said


def test_missing_and_damaged_files_are_refused(tmp_path, capsys):
    (tmp_path / "cut.pt").write_bytes(b"cut")
    for name in ("cut.pt", "missing.pt"):
        with pytest.raises(SystemExit) as ended:
            main(["examine", str(tmp_path / name)])
        assert ended.value.code == 2
        assert name in capsys.readouterr().err
