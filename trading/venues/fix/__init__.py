"""FIX 4.4 order routing: the bytes (`codec`), what they say (`messages`), the session's rules and its memory."""
