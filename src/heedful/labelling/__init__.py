"""Collecting people's judgements: a database, a web application, agreement, and training data out of it.

questions, settings      what a project asks, and how its work is given out
tables, database         what is stored, and where
projects, items, work    projects and their members; what is judged; claims, answers, second thoughts
accounts, events         who may come in; what was done
agreement, aggregation   how far labellers agree, and what their answers come to
consensus, quality       the same of a project's items
importing, exporting     from and to the formats of trainers and other tools
web                      the pages and the JSON interface
"""
