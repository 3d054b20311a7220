"""What came out: a table, and the page that it stands on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import UTC
from pathlib import Path
from statistics import mean

from bench.flaky.client import Cut
from bench.flaky.client import CUTS
from bench.flaky.cuts import Case
from bench.flaky.link import Crossing
from bench.flaky.link import DELAYS
from bench.flaky.polling import Polled
from bench.flaky.servers import PEERS
from bench.flaky.servers import TITLES
from bench.tables import Table
from bench.versions import versions

KEPT = 0.99  # of what was sent, at least
HEAD = 1.0  # seconds that a HEAD takes, at most
TIMES = 1.02  # how often each byte is sent over the link, at most
_HEAD = (
    "server",
    "stored in",
    *(f"kept, {cut}" for cut in CUTS),
    "HEAD, mean / worst ms",
    "409 / 423",
    "link, no delays",
    "link, default delays",
    "polled",
    "wrong",
)


@dataclass
class Outcome:
    """All that was found out about one server with one setting."""

    server: str
    setting: str
    cases: list[Case] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    polled: Polled | None = None

    def troubles(self) -> list[str]:
        """What went wrong, in words."""
        found = [f"{case.cut} after {case.wait:g} s: {case.trouble}" for case in self.cases if case.trouble]
        found += [f"link, {one.delays}: {one.trouble}" for one in self.crossings if one.trouble]
        if self.polled and self.polled.trouble:
            found.append(f"polled: {self.polled.trouble}")
        return found

    def row(self) -> Sequence[object]:
        """Its line of the table; what misses a goal is bold."""
        asked = [seconds for case in self.cases for seconds in case.asked] or [0.0]
        refused = [sum(case.refused.get(status, 0) for case in self.cases) for status in (409, 423)]
        worst = max(asked)
        heads = f"{mean(asked) * 1000:.0f} / {_bold(f'{worst * 1000:.0f}', worst > HEAD)}"
        crossed = {crossing.delays: crossing for crossing in self.crossings}
        return (
            TITLES[self.server],
            self.setting,
            *(self._kept(cut) for cut in CUTS),
            heads,
            f"{refused[0]} / {refused[1]}",
            *(_times(crossed.get(delays)) for delays in DELAYS),
            _times(self.polled),
            len(self.troubles()),
        )

    def _kept(self, cut: Cut) -> str:
        """All four waits together, and the one that fared worst."""
        cases = [case for case in self.cases if case.cut == cut]
        if not cases:
            return "-"
        reached = sum(case.reached for case in cases)
        share = min(1, sum(case.kept for case in cases) / reached) if reached else 0
        worst = min(cases, key=lambda case: case.share)
        text = _percent(share)
        if _percent(worst.share) != text:
            text += f" ({_percent(worst.share)} at {worst.wait:g} s)"
        return _bold(text, worst.share < KEPT)


def table(outcomes: Sequence[Outcome], reference: Sequence[Case]) -> Table:
    """A line for each server with each setting, and the most that anybody could keep."""
    found = Table("", _HEAD)
    if reference:
        kept = Outcome("bare", "", list(reference))
        found.rows.append(("a loop that only counts", "-", *(kept._kept(cut) for cut in CUTS), *["-"] * 6))
    found.rows += [outcome.row() for outcome in outcomes]
    return found


def markdown(outcomes: Sequence[Outcome], reference: Sequence[Case], left_out: Sequence[str], how: str) -> str:
    """All that was measured, and with what."""
    day = datetime.now(UTC).date().isoformat()
    cores = len(os.sched_getaffinity(0))
    about = f"Measured {day} on {cores} cores, Linux {os.uname().release}, {how}: {versions()}."
    ours = [outcome for outcome in outcomes if outcome.server not in PEERS]
    wrong = [f"{TITLES[one.server]}, {one.setting}: {text}" for one in outcomes for text in one.troubles()]
    lines = [about, "", str(table(outcomes, reference))]
    lines += [f"- Left out: {text}" for text in left_out]
    lines += [f"- {text}" for text in wrong]
    missed = sum("**" in str(cell) for outcome in ours for cell in outcome.row())
    lines += ["", f"Goals missed by this project's rows: {missed}." if missed else "Every goal is reached."]
    return "\n".join(lines).rstrip() + "\n"


def lines(outcome: Outcome) -> list[str]:
    """All details, for who watches the run."""
    found = [f"{outcome.server}, {outcome.setting}"]
    for case in outcome.cases:
        asked = case.asked or [0.0]
        said = ", ".join(f"{count}x {status or 'closed'}" for status, count in sorted(case.refused.items()))
        found.append(
            f"  {case.cut:9} {case.wait:3.1f} s  kept {_percent(case.share):7} of {case.reached:9,}"
            f" ({case.sent:,} sent)  HEAD {mean(asked) * 1000:4.0f} / {max(asked) * 1000:4.0f} ms  {said}"
        )
    for one in outcome.crossings:
        found.append(
            f"  link, {one.delays:9} {one.times:6.3f} times  {one.cuts} cuts, {one.heads} HEADs, {one.seconds:.1f} s"
        )
    if polled := outcome.polled:
        worst = max(polled.asked or [0.0])
        found.append(
            f"  polled          {polled.times:6.3f} times  {polled.patches} PATCHes, {len(polled.asked)} HEADs"
            f" of at most {worst * 1000:.0f} ms, told {polled.behind:,} bytes too few at most, {polled.seconds:.1f} s"
        )
    return found + [f"  WRONG {text}" for text in outcome.troubles()]


def write(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    if not page.exists():
        page.write_text("# Broken connections\n\n<!-- flaky -->\n<!-- /flaky -->\n")
    pattern = re.compile(r"(?<=<!-- flaky -->\n).*?(?=<!-- /flaky -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"\n{text.strip()}\n\n", page.read_text(), count=1))


def _times(one: Crossing | Polled | None) -> str:
    if one is None:
        return "-"
    if one.trouble:
        return "**fails**"
    return _bold(f"{one.times:.3f}x", one.times > TIMES)


def _percent(share: float) -> str:
    """Never 100 % unless it is all."""
    return f"{int(share * 1000) / 10:g} %"


def _bold(text: str, is_missed: bool) -> str:
    return f"**{text}**" if is_missed else text
