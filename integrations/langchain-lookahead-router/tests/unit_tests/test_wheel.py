"""What is published: the package and its licence, and a README that stands without the repository."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import langchain_lookahead_router

DISTRIBUTION = Path(__file__).parents[2]
PACKAGE = Path(langchain_lookahead_router.__file__).parent


def test_the_wheel_holds_the_package_and_the_licence(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=DISTRIBUTION, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        (license,) = (name for name in names if name.endswith("/LICENSE"))
        assert wheel.read(license) == (DISTRIBUTION.parents[1] / "LICENSE").read_bytes()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        extras = re.findall(
            r"^Requires-Dist: (\S+?)[<>].*extra == '(\w+)'", wheel.read(metadata).decode(), re.MULTILINE
        )
    code = {name for name in names if ".dist-info/" not in name}
    assert code == {f"{PACKAGE.name}/{path.name}" for path in PACKAGE.iterdir() if path.is_file()}
    assert ("langchain", "agents") in extras


def test_the_readme_has_no_links_that_break_elsewhere():
    readme = (DISTRIBUTION / "README.md").read_text(encoding="utf-8")
    assert not [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")]
