"""The configuration of the site; what it runs, and on which data, is _ext/experiments.py's part."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

# Project -------------------------------------------------------------------------------------

project = "Batch normalization, executed"
author = "The bn-tutorial authors"
copyright = author

extensions = [
    "fresh",  # first: one build at a time
    "experiments",  # then: it decides on the data and on what has to run
    "unchanged",
    "plain_files",
    "katex",
    "symbols",
    "search_engine",
    "search_index",
    "evidence_roles",
    "forest",
    "comparisons",
    "lead_figure",
    "fold",
    "check_log",
    "examined",
    "course",
    "course_map",
    "equation_code",
    "widget",
    "predict",
    "accessible",
    "api_pages",
    "glossary_hints",
    "icon_font",
    "first_paint",  # after it
    "policy",
    "open_graph",
    "take_along",
    "open_in_colab",
    "provenance",
    "myst_nb",
    "execute_ahead",  # behind it, and before the gallery
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
exclude_patterns = [
    "_build",
    "gallery/**/*.ipynb",  # for download; MyST-NB would run them a second time
]
nitpicky = True
# sphinx-gallery means the whole path: that of a checkout may have spaces, no address has it.
suppress_warnings = ["sphinx_gallery.space_in_filename"]

# Pages ---------------------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_dmath_double_inline = True
katex_macros = {r"\d": r"\mathrm{d}"}  # the gradient of the loss with respect to what follows
numfig = True  # so that an equation has the number of its page before its own
math_numfig = True
numfig_secnum_depth = 1
nb_execution_mode = "cache"
nb_execution_raise_on_error = True  # otherwise a failing cell only warns
nb_execution_timeout = 300
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # tables that a cell writes
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "alpha"  # labels of letters, which text and list share

# Experiments ---------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../tutorial_src",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",  # names, because callables cannot be pickled
    "image_scrapers": ("gallery_figures.scrape",),
    "default_thumb_file": "_static/stamp.svg",  # of a page without a figure; see experiments.py
    "reset_modules": (
        *("matplotlib", "gallery_figures.use_site_style"),
        *("experiments.take_a_share", "experiments.compute_on_one_thread"),
        "gallery_state.finish",
    ),
    "reset_modules_order": "both",  # after a script, too, when all of its files are written
    "capture_repr": (),  # a script prints what it wants to show
    "download_all_examples": False,  # an archive would differ at each build
    "show_signature": False,
    "write_computation_times": False,  # that page loads scripts from other hosts
    "min_reported_time": float("inf"),  # a time on a page would differ at each build
    "parallel": False,  # unless many scripts run: see experiments.py
    "remove_config_comments": True,
}
colab_site = ""  # "owner/name/blob/branch" where GitHub has the built site: see _ext/take_along.py

# Reference -----------------------------------------------------------------------------------

autodoc_typehints = "none"  # the docstrings give types with their shapes
autodoc_preserve_defaults = True  # as they are written: a value may be a path of this machine
autodoc_default_options = {"no-value": True}  # what a table holds is in the source
autosummary_generate = False  # see _ext/api_pages.py
numpydoc_show_class_members = False  # autodoc shows them
# Other projects' objects: links to them would need the network at each build.
nitpick_ignore_regex = [("py:.*", r"(numpy|np|torch|matplotlib|pathlib|collections|typing)\b.*")]

# Look ----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css", "equations.css"]
html_favicon = "_static/favicon.svg"
html_additional_pages = {
    "404": "404.html",  # what a server shows for an address that is none
    "search": "search.html",
}
html_baseurl = ""  # where the site is published, if it is: for previews of links, and notebooks
open_graph_image = "_images/sphx_glr_plot_02_follow_the_signal_thumb.png"
html_last_updated_fmt = "%d %B %Y"  # SOURCE_DATE_EPOCH is honoured
html_last_updated_use_utc = True
templates_path = ["_templates"]
html_context: dict[str, object] = {"default_mode": "auto"}  # and the data, for the templates
html_copy_source = False
html_show_sourcelink = False
html_scaled_image_link = False  # a figure is drawn for its page, light or dark, not for itself
# No empty column beside the pages that stand alone.
html_sidebars: dict[str, list[str]] = {
    page: []
    for page in (
        *("index", "ten_minutes", "course", "exercises", "findings", "questions", "play"),
        *("why", "choose", "often_said"),
        *("notation", "glossary", "run", "references", "search", "genindex"),
    )
}
html_theme_options = {
    "logo": {"text": "Batch normalization"},  # short enough for a telephone
    "navbar_align": "left",
    "header_links_before_dropdown": 6,  # what people come for; the lists by kind are in "More"
    "show_nav_level": 2,
    "footer_start": ["data-source"],
    "footer_end": [],
    "article_header_start": ["place"],
    "secondary_sidebar_items": ["page-toc"],
    "search_bar_text": "Search this site",
    "back_to_top_button": False,  # it would lie over figures
}
