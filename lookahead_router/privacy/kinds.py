"""What is looked for; apart from the rules, whose patterns take milliseconds to compile."""

EMAIL, PHONE, IBAN, CARD = "e-mail address", "phone number", "IBAN", "card number"
NATIONAL_ID, IP_ADDRESS = "national id", "IP address"
PRIVATE_KEY, API_KEY, PASSWORD = "private key", "API key", "password"
KINDS = (EMAIL, PHONE, IBAN, CARD, NATIONAL_ID, PRIVATE_KEY, API_KEY, PASSWORD)
"""What is looked for unless told otherwise."""
ALL_KINDS = (*KINDS, IP_ADDRESS)
