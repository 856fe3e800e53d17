-- Drop the schema. It must be empty by then: nothing is dropped by cascade.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP FUNCTION runstore.new_child_id(uuid);
DROP FUNCTION runstore.new_run_id();
DROP FUNCTION runstore.run_of(uuid);
DROP FUNCTION runstore.current_tenant_id();
DROP SCHEMA runstore;
