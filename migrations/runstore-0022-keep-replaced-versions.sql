-- Keep which version of a section its last write replaced, so that a compare-and-set may be repeated
-- also where that is not the version before: 0 where the section was removed, the report's where a
-- branch reverted its own. Adding the columns waits for a moment in which nobody uses the tables, and
-- rewrites nothing.
--
-- depends: runstore-0021-keep-size-of-appends

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

ALTER TABLE runstore.report_sections ADD COLUMN replaced_version integer;
COMMENT ON COLUMN runstore.report_sections.replaced_version IS
    'The version that the last write found; 0: it found none; NULL: the one before.';

ALTER TABLE runstore.branch_sections ADD COLUMN replaced_version integer;
COMMENT ON COLUMN runstore.branch_sections.replaced_version IS
    'The version that the last write found, the branch''s or the report''s; 0: it found none; NULL: the one before.';
