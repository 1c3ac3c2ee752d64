"""Lets the site read the section that docstrings here call ``Example``."""

import re

import griffe


class Examples(griffe.Extension):
    """Names the section as the reader of docstrings knows it."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rename the section of a class or function."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"(?m)^(\s*)Example:$", r"\1Examples:", text)
