"""Every code and what it is about. Each has a page in `pages/`, which `vflc explain` prints."""

from __future__ import annotations

CODES: dict[str, str] = {
    # Syntax
    "VFL0001": "The text cannot be read as a statement",
    "VFL0002": "A bracket is not closed, or closes nothing",
    "VFL0003": "A string is not closed on its line",
    "VFL0004": "A character that means nothing",
    "VFL0005": "The file ends in the middle of a statement",
    "VFL0006": "An expression nests too deeply",
    "VFL0007": "The file is not text in UTF-8",
    "VFL0008": "The file is too large to be a spec",
    "VFL0009": "A number that cannot be read",
    "VFL0010": "An unknown escape in a string",
    "VFL0011": "An argument without a name after one with a name",
    "VFL0012": "An argument or a field given twice",
    "VFL0013": "A family of columns with wrong bounds",
    "VFL0014": "A block that does not return exactly one value",
    "VFL0015": "A party with two keys",
    "VFL0016": "The file cannot be read",
    # Names
    "VFL0101": "An unknown name",
    "VFL0102": "A name bound twice",
    "VFL0103": "Names that depend on each other in a circle",
    "VFL0105": "An unknown feature or attribute",
    "VFL0106": "An unknown function, block, encoder or option",
    "VFL0107": "Wrong arguments of a call",
    "VFL0108": "A library or file that cannot be used",
    "VFL0109": "A part of the spec is missing",
    # Types and shapes
    "VFL0201": "Shapes that do not fit",
    "VFL0202": "An axis that does not exist",
    "VFL0203": "The wrong kind of value",
    "VFL0204": "An encoder that does not fit its column",
    "VFL0205": "A value out of its range",
    "VFL0206": "A model too large to build",
    # Disclosure
    "VFL0301": "A raw feature or label would cross between parties",
    "VFL0302": "A feature used at a place that may not see it",
    # Placement
    "VFL0401": "A label used at a party that does not own it",
    "VFL0403": "A place that does not exist",
    "VFL0404": "An objective that depends on no weight",
    # Emission
    "VFL0501": "The compiler's output failed its own check",
    "VFL0502": "A construct that this version does not support",
    "VFL0503": "A backend that is not installed",
    # Data and runtime
    "VFL0601": "A data source cannot be read",
    "VFL0602": "A column is missing from the data",
    "VFL0603": "A value is not of the type that was declared",
    "VFL0604": "A value outside the vocabulary or the index",
    "VFL0605": "A key occurs twice",
    "VFL0606": "The parties have no key in common",
    "VFL0607": "A table is empty",
    "VFL0608": "Too few rows",
    "VFL0609": "The batch is larger than the table",
    "VFL0610": "A value is missing where none may be",
    "VFL0611": "A loss or gradient is not finite",
    "VFL0612": "Cannot write",
    "VFL0613": "The bundle is damaged or of another version",
    "VFL0614": "The run folder cannot be used",
    "VFL0615": "A message that the plan does not declare",
    "VFL0616": "A key is null or blank",
    "VFL0617": "Labels that the loss cannot use",
    "VFL0618": "Data for an unknown party, or a party without data",
}
