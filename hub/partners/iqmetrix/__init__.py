"""iQmetrix Dropship: the Atom feed of order notifications, and what suppliers tell iQmetrix back."""
