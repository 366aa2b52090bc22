"""How e-mail leaves this installation: which server, and Django backends for it."""
