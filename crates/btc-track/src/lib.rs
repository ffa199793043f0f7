//! Record runs and register models; a server the MLflow client can talk to.
