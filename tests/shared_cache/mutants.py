"""Ways of leaving out a line that protects the shared cache. Each must be caught by the schedules of `world`."""

from __future__ import annotations

from tests.layers.mutants import Mutant

__all__ = ["MUTANTS", "TROUBLE"]

MUTANTS = (
    # What a process does.
    Mutant(
        "a write is not marked before it is sent",
        "membership",
        "                await self.store.begin(scopes, operation)\n                when",
        "                when",
    ),
    Mutant(
        "a write that is not marked is sent all the same",
        "membership",
        "when = max(self._lapses, self._elsewhere)\n            now",
        "return\n            now",
    ),
    Mutant(
        "a reader joins calls from before a write that is under way", "membership", ' or verdict == "pending":', ":"
    ),
    Mutant(
        "a write is acknowledged before the server knows",
        "membership",
        "await (self.store.end if known else self.store.begin)(scopes, operation)\n                    break",
        "break",
    ),
    Mutant(
        "a process that is cut off acknowledges at once",
        "membership",
        "if self._now() >= max(self._lapses, self._elsewhere):",
        "if True:",
    ),
    Mutant(
        "a lease counts from the answer to its last renewal only",
        "membership",
        "self._lapses = max(self._lapses, sent + lease + self.settings.margin)\n",
        "pass\n",
    ),
    Mutant(
        "a write that may still land is taken for done",
        "membership",
        "self._spawn(self._finish(operation, known=not sent))",
        "self._spawn(self._finish(operation, known=True))",
    ),
    Mutant("an error of the backend is taken for a rejection", "membership", "known=error.status < 500", "known=True"),
    Mutant(
        "a reader joins calls from before another's write",
        "membership",
        "                self._tell(scope)\n                self._seen",
        "                self._seen",
    ),
    Mutant(
        "a reader that knows nothing joins calls from before",
        "membership",
        'it joins no call from before."""\n        self._tell(scope)',
        'it joins no call from before."""\n        pass',
    ),
    Mutant(
        "the others' leases are not remembered",
        "membership",
        "self._remembered = tuple(one for one in self._others if one != self.member)",
        "self._remembered = ()",
    ),
    Mutant(
        "a change told of beside us all is not passed on",
        "membership",
        "        self._spawn(self._changed(scope))",
        "        self._changing.pop(scope)",
    ),
    Mutant(
        "old answers are given while a change is passed on",
        "membership",
        "and not self._behind and scope not in self._changing",
        "",
    ),
    Mutant(
        "what may still land is not marked anew",
        "membership",
        "for scopes in tuple(self._unsettled):",
        "for scopes in ():",
    ),
    # What a cache does.
    Mutant("an answer is kept though the scope was being written", "cache", 'if found.verdict == "serve" and', "if"),
    # What the server does.
    Mutant(
        "kept answers are given whoever is cut off",
        "simulated_store",
        'return "waiting" if min(self.members.values()) < now else "serve"',
        'return "serve"',
    ),
    Mutant("what is kept outlives writes", "simulated_store", "entry is None or entry[0] != stamp", "entry is None"),
    Mutant(
        "marks are not looked at by readers",
        "simulated_store",
        '        if self.marked(scope):\n            return Found("pending", stamp)\n',
        "",
    ),
    Mutant(
        "a removed process's writes are not seen",
        "simulated_store",
        "            self.epoch = self.token()\n            self.quarantine = max",
        "            self.quarantine = max",
    ),
    Mutant(
        "a dead process's last writes are not waited for",
        "simulated_store",
        "self.quarantine = max(self.quarantine, now + int(self.settings.settle * 1000))",
        "pass",
    ),
    Mutant(
        "a new server serves at once",
        "simulated_store",
        "self.epoch, self.quarantine = self.token(), now + int(settings.quarantine * 1000)\n        if now",
        "self.epoch, self.quarantine = self.token(), now\n        if now",
    ),
    Mutant(
        "an evicted mark is taken for none",
        "simulated_store",
        "            if self.lost and self.lost",
        "            if False and self.lost",
    ),
    Mutant(
        "a clock that is set back is not noticed",
        "simulated_store",
        "        if now + 100 < self.clock:\n            self.epoch",
        "        if False:\n            self.epoch",
    ),
)

TROUBLE = {
    "the others' leases are not remembered": ("all",),
    "what may still land is not marked anew": ("restart", "all"),
    "a removed process's writes are not seen": ("cut and crash",),
    "a dead process's last writes are not waited for": ("cut and crash",),
    "an evicted mark is taken for none": ("evict",),
    "a clock that is set back is not noticed": ("clock", "cut"),
    "a process that is cut off acknowledges at once": ("cut",),
    "a new server serves at once": ("restart", "all"),
}
"""What goes wrong where a line protects against nothing else."""
