"""What a page would load from elsewhere: scripts, styles, fonts, pictures, frames."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

REMOTE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
LOADED_LINKS = {"stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch", "icon"}
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
SOURCES = ("src", "srcset", "poster", "data")


class _Loads(HTMLParser):
    """Addresses of other machines that a page loads by itself; links to follow are none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag loads."""
        values = {name: value or "" for name, value in attrs}
        names = list(SOURCES)
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").lower().split()):
            names.append("href")
        self.found += [values[name] for name in names if REMOTE.match(values.get(name, ""))]
        self.found += IN_STYLE.findall(values.get("style", ""))


def loads(text: str) -> list[str]:
    """List the addresses of other machines that a page loads.

    :param text: HTML of the page
    :return: Addresses, in their order
    """
    parser = _Loads()
    parser.feed(text)
    styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL | re.IGNORECASE))
    return parser.found + IN_STYLE.findall(styles)


def site_loads(folder: Path) -> Iterator[tuple[Path, str]]:
    """Find what the pages and style sheets of a site load from other machines.

    :param folder: Folder of the built site
    :yield: File and address
    """
    for path in sorted(folder.rglob("*.html")):
        yield from ((path, address) for address in loads(path.read_text()))
    for path in sorted(folder.rglob("*.css")):
        yield from ((path, address) for address in IN_STYLE.findall(path.read_text()))
