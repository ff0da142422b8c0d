"""How a gradient becomes a step: groups, schedule, clipping, averages, guards."""
