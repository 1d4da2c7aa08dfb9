"""The engines: one package for each, behind `flm.ports.engines.EngineAdapter`."""
