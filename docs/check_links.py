"""Check every link within the built pages, without a network: ``python docs/check_links.py build/docs``.

A file that is linked has to be there, and so has the anchor in it. Links to other sites are listed.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and what it refers to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links = {"", "top"}, set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Take what names a place or a file."""
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src", "data") and value is not None:
                self.links.add(value)


def main(folder: str) -> int:
    """Print what is broken, and the links to other sites; return how many are broken."""
    root = Path(folder).resolve()
    pages = {path: Page(path) for path in root.rglob("*.html")}
    broken, outside = [], {}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if parts.scheme != "data":
                    outside.setdefault(link, path.relative_to(root))
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else None
            if not target.is_file() or (anchors is not None and unquote(parts.fragment) not in anchors):
                broken.append(f"{path.relative_to(root)}: {link}")
    print("Links to other sites, which were not asked:", *sorted(outside), sep="\n  ")
    print(
        f"{sum(len(page.links) for page in pages.values())} links on {len(pages)} pages, {len(broken)} broken"
    )
    print(*broken, sep="\n", file=sys.stderr)
    return len(broken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
