-- What a participant of these examples keeps in its own database. The Go one has an inbox table of its kit instead.

-- One row per saga-key: the answer that was given. outcome is null only inside of a transaction.
create table if not exists inbox (
  k       text primary key,
  sum     text,                        -- of the command, to notice a key that is used twice; null in a tombstone
  outcome text,
  body    jsonb,
  undone  boolean not null default false,
  at      timestamptz not null default now()
);
create index if not exists inbox_at on inbox (at); -- delete from inbox where at < now() - interval '31 days'

-- The business: a line per effect, and a line that takes it back.
create table if not exists ledger (
  id      bigserial primary key,
  wid     text not null,
  command text not null,
  k       text not null,               -- saga-key of the line
  fwd     text,                        -- of the line that this one reverses
  amount  bigint not null
);
