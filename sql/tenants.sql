-- Tenants: whose rows a transaction writes, lists and, with row-level security, can see at all.
-- The setting ends with the transaction, so that a pooled connection carries it to nobody else.

-- name: set_tenant :value
-- Say whose rows the rest of the transaction is about.
-- not null: tenant_id
SELECT set_config('runstore.tenant_id', %(tenant_id)s, true) AS tenant_id;
