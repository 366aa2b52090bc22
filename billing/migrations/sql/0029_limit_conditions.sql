-- What billing_meets_conditions and billing_has_value have replaced.

DROP FUNCTION billing_is_in_limit(text, text, text[], bigint, text, text, text, text, text, text, text, text, text, text, text, text, text[]);

DROP FUNCTION billing_meets_condition(text, text, text, bigint, text, text, text, text, text, text, text, text, text, text, text, text, text[]);
