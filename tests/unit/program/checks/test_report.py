import json
from pathlib import Path

from peitho.program.checks import report
from peitho.settings.models import Settings


async def test_each_line_says_what_to_do(tmp_path: Path) -> None:
    """
    And the last how many are wrong, as the exit status does.
    """
    lines: list[str] = []
    settings = Settings(data_dir=tmp_path)

    assert 1 == await report.told(settings, output="text", tell=lines.append)

    assert any(line.startswith("WRONG    Kubernetes     No Kubernetes: ") for line in lines)
    assert any("\n                        -> set server.tls" in line for line in lines)
    assert lines[-1].endswith("1 wrong")


async def test_for_programs_it_is_json(tmp_path: Path) -> None:
    """
    One list of all findings.
    """
    lines: list[str] = []

    await report.told(Settings(data_dir=tmp_path), output="json", tell=lines.append)

    (text,) = lines
    found = json.loads(text)
    assert {"name", "status", "said", "do"} == found[0].keys()
    assert ["Kubernetes"] == [each["name"] for each in found if each["status"] == "wrong"]
