"""One file per framework; nothing else imports them."""
