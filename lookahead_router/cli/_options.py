"""Help texts that commands share."""

ROUTER_HELP = "Folder of a saved predictor, or org/name on the Hugging Face Hub; the embedded one if absent."
REVISION_HELP = "Branch, tag or commit of org/name."
