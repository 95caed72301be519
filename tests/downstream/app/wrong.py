"""Wrong uses: a checker that finds nothing in one of these lines calls its comment unnecessary."""

from lookahead_router import Candidate, Router, Threshold

router = Router.from_pretrained(candidates=["a"], qualty=0.9)  # type: ignore
name: int = router.route("hi").name  # type: ignore
Threshold("high")  # type: ignore
Candidate(nam="a")  # type: ignore
print(router.pool["a"].prise)  # type: ignore
