"""Numbers of Chinese pages: grouped by thousands, as banks print them; Django leaves all digits in one."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
