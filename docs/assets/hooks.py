"""Pages that stand at the root of the repository, and links that leave docs/."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
AT_THE_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
FENCE = re.compile(r"^(```\w+) [^\n]*$", re.MULTILINE)
"""What a fence says to the tests, such as `no-run`, is no Markdown."""
LINK = re.compile(r"\[([^\]\n]+|[^\]]+?)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)")


def on_files(files, config):
    """Adds the root's pages; their links are those of a page in docs/."""
    for name in AT_THE_ROOT:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to files of the repository that are no pages become their paths."""
    folder = posixpath.dirname(page.file.src_uri)
    at_root = page.file.src_uri in AT_THE_ROOT

    def resolved(match):
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        path = posixpath.normpath(posixpath.join("" if at_root else posixpath.join("docs", folder), target))
        uri = path if path in AT_THE_ROOT else path.removeprefix("docs/") if path.startswith("docs/") else None
        if uri is not None and files.get_file_from_path(uri) is not None:
            return f"[{text}]({posixpath.relpath(uri, folder or '.')}{anchor})"
        if (ROOT / path).exists():
            return text if text.strip("`") == path else f"{text} (`{path}`)"
        return match.group(0)  # wrong, which a strict build says

    markdown = FENCE.sub(r"\1", markdown)
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(resolved, part) for part in parts)


def on_post_page(output, page, config):
    """The theme's search is a dialog without a name, which screen readers want."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
