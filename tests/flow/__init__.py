"""flow.js, resumable.js and their kin: every number of their checklist, races, faults, and the guide's own code."""
