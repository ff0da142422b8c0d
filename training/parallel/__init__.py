"""How one step is spread over ranks and devices: functions that are applied to a model."""
