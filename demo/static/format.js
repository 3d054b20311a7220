// Numbers for people.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
const NO_BREAK = "\u00a0";

/** 1234567 → "1,234,567" */
export function count(number) {
  return whole.format(number);
}

/** 1234567 → "1.18 MiB" */
export function size(bytes) {
  if (bytes < 1024) return `${count(bytes)} ${bytes === 1 ? "byte" : "bytes"}`;
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short.format(value)} ${UNITS[unit]}`;
}

/** 0.5 → "50%"; never 100% before it is all there. */
export function percent(fraction) {
  return `${Math.floor(fraction * 100)}%`;
}

/** 3723 → "1 h 2 min" */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${total % 60} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} min`;
  return `${Math.floor(total / 86400)} d ${Math.floor((total % 86400) / 3600)} h`;
}

/** Facts side by side; a narrow line breaks between them, not within. */
export function line(facts) {
  return facts.map((fact) => fact.replaceAll(" ", NO_BREAK)).join(" · ");
}

/** An ISO time → "14:03" today, "4 May, 14:03" otherwise. */
export function moment(iso) {
  const then = new Date(iso);
  const time = then.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}
