//! One web page over runs, models, studies, features and forecasts.
