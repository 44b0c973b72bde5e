"""What people of the demo tenants write: industries, tickets, deals, notes."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMMENTS",
    "CONTRACTS",
    "DEALS",
    "FILES",
    "INDUSTRIES",
    "LOST_REASONS",
    "NOTES",
    "NOTIFICATIONS",
    "STAGES",
    "TAGS",
    "TICKETS",
]

INDUSTRIES: Final = (
    "Manufacturing",
    "Software",
    "Logistics",
    "Retail",
    "Healthcare",
    "Construction",
    "Food",
    "Finance",
    "Energy",
    "Education",
)

TAGS: Final = (
    ("key account", "#b91c1c"),
    ("newsletter", "#0369a1"),
    ("partner", "#15803d"),
    ("reference", "#7e22ce"),
    ("slow payer", "#a16207"),
    ("trade fair", "#0f766e"),
)

STAGES: Final = (
    ("New", 10, "open"),
    ("Qualified", 25, "ongoing"),
    ("Proposal", 50, "ongoing"),
    ("Negotiation", 75, "ongoing"),
    ("On hold", 20, "on_hold"),
    ("Won", 100, "won"),
    ("Lost", 0, "lost"),
)
"""Label, probability in per cent, type; in the order of the pipeline."""

DEALS: Final = (
    "Annual licence",
    "Pilot project",
    "Spare parts, one year",
    "Rollout to all branches",
    "Training for the team",
    "Upgrade of the old system",
    "Service agreement",
    "Second site",
)

LOST_REASONS: Final = ("price", "another supplier", "no budget this year", "the project was stopped", "no answer")

TICKETS: Final = (
    (
        "billing",
        "Invoice shows the wrong VAT rate",
        "The last invoice has the full rate where the reduced one applies.",
    ),
    ("billing", "Please send invoices to our new address", "We moved; the old address is no longer ours."),
    ("access", "Cannot log in since this morning", "The password is right, and the page says it is not."),
    ("access", "Two new colleagues need an account", "Both start on Monday, with the role agent."),
    ("delivery", "Delivery is three days late", "The carrier's page has not changed since Tuesday."),
    ("delivery", "One of five boxes arrived damaged", "Photographs are attached; please replace it."),
    ("product", "Export stops at 500 rows", "The list has 1,200; the file ends in the middle of the letter K."),
    ("product", "Umlauts are broken in the report", "“Müller” is printed as “MÃ¼ller”."),
    ("question", "How do we cancel one of our licences?", "We need four of the five from next quarter on."),
    ("question", "Is there an interface for our accounting?", "Our system reads CSV and speaks REST."),
)
"""Category, subject, description."""

COMMENTS: Final = (
    "Thank you for the report. We are looking into it.",
    "Could you tell us since when this happens?",
    "Since yesterday, about noon.",
    "I have passed this on to the second line.",
    "It works again here. Can you confirm?",
    "Confirmed, thank you.",
    "We need two more days for this one.",
)

CONTRACTS: Final = (
    "Maintenance",
    "Licence",
    "Support, business hours",
    "Support, around the clock",
    "Framework agreement",
)

NOTES: Final = (
    "Prefers to be called in the morning.",
    "Met at the trade fair; asked for a quotation.",
    "Decides together with the parent company.",
    "Pays at once, and expects the same.",
    "50 % of the order volume is in the fourth quarter.",
)

NOTIFICATIONS: Final = (
    ("ticket", "A ticket was assigned to you", "/tickets"),
    ("deal", "A deal has moved to Negotiation", "/deals"),
    ("contract", "A contract ends in 30 days", "/contracts"),
    ("customer", "A customer was imported twice", "/customers"),
)
"""Kind, title, link."""

FILES: Final = (
    ("Price list.csv", "text/csv", "article,price,currency\nA-100,12.50,EUR\nA-200,99.00,EUR\n"),
    ("Welcome.txt", "text/plain", "Welcome. This file is part of the demo data.\n"),
    ("Größen und Maße.md", "text/markdown", "# Größen und Maße\n\n| Artikel | mm |\n| --- | --- |\n| A-100 | 120 |\n"),
)
"""Name, content type, content."""
