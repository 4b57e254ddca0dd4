"""What a reader takes along runs elsewhere: it begins by installing what it needs.

An experiment offers its notebook, its script, and an archive of both. They use the package, so the
site holds a wheel of it. Where the site knows its own address, the first cell of each notebook
installs the wheel from there. Where it does not, as when it is read from a disk, the wheel lies in
the archive beside the notebook, and is installed from that folder.

``html_baseurl`` is that address, or ``colab_site`` the place on GitHub that holds the built site.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import gallery_state
import plain_text
import site_archive
from hatchling.builders.wheel import WheelBuilder
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.config import Config

from bn_tutorial.lab import evidence

ROOT = Path(__file__).parents[2]
FOLDER = "_downloads"

IMPORT = re.compile(r"^from bn_tutorial\.scratch import (\([^)]*\)|.*)", re.MULTILINE)
PUBLISHED = """\
# Install what this notebook uses, unless it is there.
from importlib.util import find_spec

if not ({there}):
    %pip install --quiet {wheel}{more}"""
BESIDE = """\
# Install what this notebook uses, unless it is there: the package lies in the same folder.
from importlib.util import find_spec
from pathlib import Path

if not ({there}):
    if not Path("{wheel}").is_file():
        raise FileNotFoundError(
            "{wheel} is not in this folder. It comes with "
            "the notebook in the archive (.zip) that the notebook's page offers at its foot: "
            "download that, unpack it, and open the notebook in its folder."
        )
    %pip install --quiet {wheel}{more}"""
MORE = {"fused": "numba"}  # what modules of the package need besides what comes with it
SHOW = """
# On the page the figures stand between the cells; here each opens in a window.
import matplotlib.pyplot as plt

plt.show()
"""
PLAIN = """\
# Install what this notebook uses, unless it is there.
%pip install --quiet torch torchvision"""


def build_wheel(folder: Path) -> Path:
    """Build a wheel of the package; the same sources give the same bytes."""
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def address_of(config: Config) -> str:
    """Return where the site is published, with a slash at its end; nothing where it is not."""
    place = config.html_baseurl
    if not place and config.colab_site:
        place = f"https://github.com/{config.colab_site.replace('/blob/', '/raw/', 1)}"
    return place and f"{place.rstrip('/')}/"


def equip(files: dict[str, Path], around: plain_text.Around, wheel: Path, address: str) -> None:
    """Let the files of an experiment say what they need, and pack them.

    Parameters
    ----------
    files : dict of str to Path
        Notebook, script and archive, by their suffixes.
    around : Around
        What the text refers to.
    wheel : Path
        The package.
    address : str
        Of the folder that the wheel is published in, with a slash at its end, or nothing.
    """
    script = plain_text.script(files[".py"].read_text(encoding="utf-8"), around)
    is_ours = "bn_tutorial" in script
    lies_beside = is_ours and not address
    what = f"{address}{wheel.name}" if is_ours else "torch torchvision"
    where = " (the file comes with this one, in the archive)" if lies_beside else ""
    imported = set(re.findall(r"\w+", " ".join(re.findall(IMPORT, script))))
    libraries = [library for module, library in MORE.items() if module in imported]
    more = "".join(f" {library}" for library in libraries)
    there = " and ".join(f'find_spec("{name}")' for name in ("bn_tutorial", *libraries))
    show = SHOW if "new_figure(" in script else ""
    needs = f"# This needs: pip install {what}{more}{where}\n"
    files[".py"].write_text(f"{needs}{script}{show}", encoding="utf-8")

    notebook = json.loads(files[".ipynb"].read_text(encoding="utf-8"))
    plain_text.notebook(notebook["cells"], around)
    first = BESIDE if lies_beside else PUBLISHED
    first = first.format(wheel=what, more=more, there=there) if is_ours else PLAIN
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    notebook["cells"].insert(0, {**cell, "source": first.splitlines(keepends=True)})
    files[".ipynb"].write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")

    packed = [files[".ipynb"], files[".py"], *([wheel] if lies_beside else [])]
    site_archive.pack(files[".zip"], {path.name: path for path in packed})


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put the wheel into the site, and equip what it offers."""
    if error or app.builder.format != "html":
        return
    downloads = Path(app.outdir, FOLDER)
    wheel, site = build_wheel(downloads), address_of(app.config)
    sources = parse_file(str(Path(app.srcdir, "references.bib")))
    titles = {page: title.astext() for page, title in app.env.titles.items()}
    labels = app.env.domains.standard_domain.labels
    links = site if app.config.html_baseurl else ""  # GitHub would show their source
    for packed in sorted(path for path in app.env.dlfiles if Path(path).suffix == ".zip"):
        page = Path(packed).with_suffix("").as_posix()
        files = {
            suffix: downloads / app.env.dlfiles[Path(f"{page}{suffix}")][1]
            for suffix in (".ipynb", ".py", ".zip")
        }
        script = page.removeprefix("gallery/")
        # Where one page is built alone, others may name what their last run did not yet measure.
        is_wanted = script.startswith(gallery_state.wanted())
        is_known = is_wanted and evidence.path_of(script).is_file()
        known = evidence.recall(script) if is_known else None
        around = plain_text.Around(page, known, sources, titles, links, labels)
        equip(files, around, wheel, site and f"{site}{FOLDER}/")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_config_value("colab_site", "", "html", types=frozenset({str}))
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
