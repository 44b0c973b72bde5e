// Checks of what a caller sent. All problems of one request are told at once, by field.
import { invalid } from "./problems.ts";

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ADDRESS = /^[^@\s]+@[^@\s]+$/;

export class Input {
  #errors: Record<string, string> = {};
  #known = new Set<string>();

  constructor(readonly given: Record<string, unknown>) {}

  #take(field: string): unknown {
    this.#known.add(field);
    return this.given[field] ?? undefined;
  }

  fail(field: string, problem: string): void {
    this.#errors[field] ??= problem;
  }

  /** A text of 1 to `most` characters; "" and an error where it is something else. */
  text(field: string, most: number): string {
    const value = this.optional(field, most);
    if (value === undefined) this.fail(field, "is missing; give a text");
    return value ?? "";
  }

  /** The same, or nothing. */
  optional(field: string, most: number): string | undefined {
    const value = this.#take(field);
    if (value === undefined) return undefined;
    if (typeof value !== "string") this.fail(field, "is no text");
    else if (!value.trim()) this.fail(field, "is empty; give a text, or leave it out");
    else if ([...value].length > most) this.fail(field, `is longer than ${most} characters; shorten it`);
    else if (value.includes("\0")) this.fail(field, "has the character U+0000; remove it");
    else return value;
    return undefined;
  }

  /** An e-mail address. */
  address(field: string): string {
    const value = this.text(field, 254);
    if (value && !ADDRESS.test(value)) this.fail(field, "is no e-mail address");
    return value;
  }

  /** A user's or a record's id, in the form that Interlock gives them. */
  id(field: string): string {
    const value = this.text(field, 200);
    if (value && !ID.test(value)) this.fail(field, "is not a canonical UUIDv7");
    return value;
  }

  /** One to `most` ids, each once. */
  ids(field: string, most: number): string[] {
    const value = this.#take(field);
    if (!Array.isArray(value) || !value.length) this.fail(field, "is empty; give a list of ids");
    else if (!value.every((each) => typeof each === "string" && ID.test(each))) this.fail(field, "has something that is not a canonical UUIDv7");
    else if (new Set(value).size > most) this.fail(field, `has more than ${most} ids; call several times`);
    else return [...new Set<string>(value)];
    return [];
  }

  /** One of the values; `otherwise` where nothing is given. */
  choice<T extends string>(field: string, values: readonly T[], otherwise?: T): T {
    const value = this.#take(field) ?? otherwise;
    if (!values.includes(value as T)) this.fail(field, `must be one of ${values.join(", ")}`);
    return value as T;
  }

  /** Raise what was found, fields that nobody asked for included. */
  check(): void {
    for (const field of Object.keys(this.given)) {
      if (!this.#known.has(field)) this.fail(field, `is unknown; there are ${[...this.#known].join(", ")}`);
    }
    if (Object.keys(this.#errors).length) throw invalid(this.#errors);
  }
}
