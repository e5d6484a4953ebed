"""Deep active learning for joint classification and segmentation with a weak annotator, as a MONAI bundle.

The modules follow the flow of the data: datalist and images, networks, stage 0, rounds, report.
``docs/architecture.md`` draws it. Nothing is imported here, so that importing one module stays cheap.
"""
