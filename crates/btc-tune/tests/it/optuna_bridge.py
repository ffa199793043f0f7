"""What the tests ask of the real Optuna. Usage: optuna_bridge.py COMMAND URL STUDY [N]"""

import json
import logging
import struct
import sys
import warnings
from datetime import timezone

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import optuna  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage_of(url):
    if url.startswith("journal:///"):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(url[len("journal:///"):]))
    return url


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", float(value)))[0]


def time(value):
    # Optuna shows local time.
    return value and value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def dump(url, name):
    study = optuna.load_study(study_name=name, storage=storage_of(url))
    trials = [
        {
            "number": t.number,
            "state": t.state.name,
            "values": [bits(v) for v in t.values or []],
            "params": list(t.params.items()),
            "distributions": [
                [k, optuna.distributions.distribution_to_json(d)] for k, d in t.distributions.items()
            ],
            "intermediate_values": [[s, bits(v)] for s, v in sorted(t.intermediate_values.items())],
            "user_attrs": t.user_attrs,
            "system_attrs": t.system_attrs,
            "start": time(t.datetime_start),
            "complete": time(t.datetime_complete),
        }
        for t in study.get_trials(deepcopy=False)
    ]
    best = None
    if len(study.directions) == 1:
        try:
            best = study.best_trial.number
        except ValueError:
            pass
    print(json.dumps({
        "directions": [d.name for d in study.directions],
        "user_attrs": study.user_attrs,
        "best": best,
        "best_trials": [t.number for t in study.best_trials],
        "trials": trials,
    }))


def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    lr = trial.suggest_float("lr", 1e-5, 1, log=True)
    n = trial.suggest_int("n", 1, 9, step=2)
    c = trial.suggest_categorical("c", ["a", None, True, 3, 2.5])
    trial.set_user_attr("seen", [x, None])
    trial.report(x, 0)
    if trial.number % 5 == 3:
        raise optuna.TrialPruned()
    if trial.number % 7 == 6:
        raise ValueError("on purpose")
    return x * x + n + (c == "a") + abs(lr)


def run(url, name, n):
    study = optuna.create_study(
        study_name=name, storage=storage_of(url), load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=5),
    )
    study.optimize(objective, n_trials=int(n), catch=(ValueError,))


def write(url, name):
    """A study with everything Optuna stores."""
    study = optuna.create_study(study_name=name, storage=storage_of(url), direction="maximize")
    study.set_user_attr("note", {"deep": [1, None, "é"]})
    study.set_metric_names(["score"])
    dists = {
        "f": optuna.distributions.FloatDistribution(0, 1, step=0.25),
        "i": optuna.distributions.IntDistribution(1, 1024, log=True),
        "c": optuna.distributions.CategoricalDistribution(["a", None, True, 3, 2.5]),
    }
    for value, c in ((float("inf"), None), (-2.5, True), (float("-inf"), 2.5)):
        study.add_trial(optuna.create_trial(
            params={"f": 0.75, "i": 17, "c": c}, distributions=dists, value=value,
            user_attrs={"u": [1]}, system_attrs={"s": "t"},
            intermediate_values={0: float("nan"), 3: float("inf"), 7: 1e-5},
        ))
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.FAIL))
    trial = study.ask()
    trial.suggest_float("f", 0, 1, step=0.25)
    trial.report(0.5, 2)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    trial = study.ask()
    trial.suggest_int("i", 1, 1024, log=True)
    trial.set_constraint("size", 1.5)
    study.tell(trial, 100.0)
    study.ask().suggest_float("f", 0, 1, step=0.25)
    study.enqueue_trial({"f": 0.5, "c": None})


def dashboard(url, name):
    """The answers of optuna-dashboard's API, without a socket."""
    import io

    from optuna_dashboard import wsgi

    app = wsgi(optuna.storages.RDBStorage(url, skip_table_creation=True))

    def get(path):
        answer = {}
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "x",
            "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http",
        }
        body = b"".join(app(environ, lambda status, headers, *rest: answer.update(status=status)))
        assert answer["status"].startswith("200"), (path, answer, body[:500])
        return json.loads(body)

    summaries = get("/api/studies")["study_summaries"]
    study = next(s for s in summaries if s["study_name"] == name)
    print(json.dumps({"summary": study, "study": get(f"/api/studies/{study['study_id']}")}))


def importance(url, name):
    study = optuna.load_study(study_name=name, storage=storage_of(url))
    evaluators = {
        "ped": optuna.importance.PedAnovaImportanceEvaluator(),
        "ped_region": optuna.importance.PedAnovaImportanceEvaluator(
            target_quantile=0.2, region_quantile=0.7
        ),
    }
    try:
        import sklearn  # noqa: F401

        evaluators["fanova"] = optuna.importance.FanovaImportanceEvaluator(seed=1)
        evaluators["mdi"] = optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=1)
    except ImportError:
        pass
    print(json.dumps({
        k: optuna.importance.get_param_importances(study, evaluator=e) for k, e in evaluators.items()
    }))


if __name__ == "__main__":
    commands = {"dump": dump, "run": run, "write": write, "dashboard": dashboard,
                "importance": importance}
    commands[sys.argv[1]](*sys.argv[2:])
