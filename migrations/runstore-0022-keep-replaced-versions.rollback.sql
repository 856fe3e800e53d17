-- Forget which versions were replaced. What was kept is lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

ALTER TABLE runstore.branch_sections DROP COLUMN replaced_version;
ALTER TABLE runstore.report_sections DROP COLUMN replaced_version;
