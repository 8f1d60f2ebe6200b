"""Steps of a request, driven by PyGithub. Arguments: the facts `daypass sandbox --print-json` wrote, a step, its arguments."""

import json
import sys
import time

import github


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        facts = json.load(file)

    def client(login):
        auth = github.Auth.Token(facts["tokens"][login])
        return github.Github(base_url=facts["api_url"], auth=auth, retry=None)

    def repository(login):
        return client(login).get_repo(facts["repository"])

    step, arguments = sys.argv[2], sys.argv[3:]
    if step == "people":
        organisation = client("olga").get_organization(facts["organisation"])
        print(json.dumps(people(organisation)))
    else:
        print(json.dumps(STEPS[step](repository, *arguments)))


def until(look):
    for _ in range(300):
        seen = look()
        if seen is not None:
            return seen
        time.sleep(0.1)
    sys.exit("this never came true")


def ask(repository, login, slug, text):
    repo = repository(login)
    main = repo.get_git_ref("heads/main")
    repo.create_git_ref(f"refs/heads/{slug}", main.object.sha)
    repo.create_file(f"grants/{slug}.yaml", "Ask", text, branch=slug)
    pull = repo.create_pull(title=f"Access: {slug}", body="Please.", head=slug, base="main")
    return {"number": pull.number}


def check(repository, wanted, number):
    repo = repository("olga")

    def look():
        head = repo.get_commit(repo.get_pull(int(number)).head.sha)
        for run in head.get_check_runs(check_name="daypass"):
            if (run.conclusion or "waiting") == wanted:
                annotations = [{"path": one.path, "line": one.start_line, "message": one.message} for one in run.get_annotations()]
                return {"title": run.output.title, "annotations": annotations}
        return None

    return until(look)


def approve(repository, login, number):
    pull = repository(login).get_pull(int(number))
    pull.create_review(event="APPROVE", body="Fine.")

    def look():
        again = repository(login).get_pull(int(number))
        return {"merged_by": again.merged_by.login} if again.merged else None

    return until(look)


def merge_readme(repository, login):
    """A pull request that is none of Daypass's business, merged by the client itself."""
    repo = repository(login)
    repo.create_git_ref("refs/heads/readme", repo.get_git_ref("heads/main").object.sha)
    repo.create_file("README.md", "Explain", "# Access\n", branch="readme")
    pull = repo.create_pull(title="Explain", body="", head="readme", base="main")
    check(repository, "neutral", pull.number)
    done = pull.merge(merge_method="squash", sha=pull.head.sha)
    content = repo.get_contents("README.md", ref="main").decoded_content.decode()
    return {"merged": done.merged, "content": content}


def read(repository, number):
    repo = repository("olga")
    pull = repo.get_pull(int(number))
    return {
        "comments": [comment.body for comment in pull.get_issue_comments()],
        "reviews": [[review.user.login, review.state] for review in pull.get_reviews()],
        "files": [file.filename for file in pull.get_files()],
        "commits": [commit.sha for commit in pull.get_commits()],
        "labels": [label.name for label in pull.labels],
    }


def people(organisation):
    return {
        "members": [member.login for member in organisation.get_members()],
        "teams": {team.slug: [member.login for member in team.get_members()] for team in organisation.get_teams()},
    }


STEPS = {"ask": ask, "check": check, "approve": approve, "merge-readme": merge_readme, "read": read}

main()
