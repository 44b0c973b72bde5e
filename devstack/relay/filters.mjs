// The filters of subscriptions: `column=eq.value`, on a row as JSON.
const number = (value) => (value !== "" && Number.isFinite(Number(value)) ? Number(value) : value);
const ordered = (holds) => (mine, theirs) => holds(number(mine), number(theirs));
const members = (list) => list.replace(/^\(|\)$/g, "").split(",").map((each) => each.trim().replace(/^"|"$/g, ""));

const OPERATORS = {
  eq: (mine, theirs) => mine === theirs,
  neq: (mine, theirs) => mine !== theirs,
  lt: ordered((a, b) => a < b),
  lte: ordered((a, b) => a <= b),
  gt: ordered((a, b) => a > b),
  gte: ordered((a, b) => a >= b),
  in: (mine, theirs) => members(theirs).includes(mine),
};
const FORM = /^([^=]+)=(eq|neq|lt|lte|gt|gte|in)\.(.*)$/s;

/** Whether a filter can be read at all. */
export const readable = (filter) => !filter || FORM.test(filter);

/** Whether a row passes a filter. A column that the row lacks, or that is null, passes none. */
export function passes(filter, row) {
  if (!filter) return true;
  const [, column, operator, value] = FORM.exec(filter) ?? [];
  const mine = row[column];
  return mine !== undefined && mine !== null && OPERATORS[operator](JSON.isRawJSON(mine) ? mine.rawJSON : String(mine), value);
}
