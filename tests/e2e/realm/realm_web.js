// realm-web: `kit.sdk` is its module. Versions differ: up to 1.3 the arguments of e-mail functions are positional and
// nobody is deleted; up to 2.0.0 each anonymous login makes a user.

kit.suite = ({ version, base, home, app: id }) => {
  const { check, email, equal, ok, operator, rejected, requests, seen, types, FORGED, PASSWORD } = kit;
  const R = kit.sdk;
  const [major, minor] = version.split(".").map(Number);
  const reuses = version === "2.0.1";
  const positional = major === 1 && minor < 5;

  const LOCATION = "GET {a}/location -";
  const LOGIN = ["POST {a}/auth/providers/anon-user/login -", "GET /auth/profile A"];
  const REFRESH = "POST /auth/session R";
  const LOG_OUT = "DELETE /auth/session R";

  const storage = () => R.getEnvironment().defaultStorage;
  const newApp = (options = {}) => new R.App({ id, baseUrl: base, ...options });
  const anew = (app) => app.logIn(reuses ? R.Credentials.anonymous(false) : R.Credentials.anonymous());
  const auth = (app) => app.emailPasswordAuth;
  const call = (app, name, named) =>
    positional ? auth(app)[name](...Object.values(named)) : auth(app)[name](named);
  const register = (app, address, password = PASSWORD) => call(app, "registerUser", { email: address, password });
  const told = (error) => [error.statusCode, error.errorCode, error.error];

  async function guest() {
    const app = newApp();
    const user = await app.logIn(R.Credentials.anonymous());
    await requests();
    return [app, user];
  }

  kit.reset = async () => storage().clear("");

  check("1 2", "a guest logs in, after one question where to", async () => {
    const app = newApp();
    equal(app.currentUser, null);
    const user = await app.logIn(R.Credentials.anonymous());

    ok(/^[0-9a-f]{24}$/.test(user.id), `the id is ${user.id}`);
    ok(app.currentUser === user && app.allUsers[user.id] === user, "the user is not the current one");
    equal([user.isLoggedIn, user.state], [true, "active"]);
    ok(/^[0-9a-f]{24}$/.test(user.deviceId) && !/^0+$/.test(user.deviceId), `the device is ${user.deviceId}`);
    const [location, ...others] = await requests();
    equal([location.port, location.path], ["front", `/api/client/v2.0/app/${id}/location`]);
    equal(JSON.parse(location.answer).hostname, home);
    equal(others.map((one) => `${one.port} ${one.method} ${one.kind}`), ["home POST -", "home GET A"]);
    equal((await operator("facts", user.id)).is_guest, true);

    await anew(app);
    equal(await seen(), LOGIN, "the requests of the second login");
  });

  check("2", "of two at once only one asks where to", async () => {
    const app = newApp();
    await Promise.all([register(app, email()), register(app, email())]);
    const lines = await seen();
    equal(lines.filter((line) => line === LOCATION).length, 1);
    equal(lines[0], LOCATION);
  });

  check("3", "without a question where to", async () => {
    const app = newApp({ skipLocationRequest: true });
    await app.logIn(R.Credentials.anonymous());
    equal(await seen(), LOGIN);
  });

  check("4", "the app's name and version arrive, and the device comes back", async () => {
    const app = newApp({ app: { name: "shop", version: "1.2.3" } });
    const user = await app.logIn(R.Credentials.anonymous());
    const device = user.deviceId;
    await anew(app);

    const bodies = (await requests()).filter((one) => one.path.endsWith("/login")).map((one) => JSON.parse(one.body));
    const [first, second] = bodies.map((body) => body.options.device);
    equal([first.appId, first.appVersion, first.deviceId], ["shop", "1.2.3", undefined]);
    equal([second.appId, second.appVersion, second.deviceId], ["shop", "1.2.3", { $oid: device }]);
    equal(app.currentUser.deviceId, device);
  });

  check("5", "the profile of a guest is empty", async () => {
    const [, user] = await guest();
    equal(user.profile, {});
    equal(user.profile.name, undefined);
    equal(user.customData, {});
    equal(types(user.identities), ["anon-user"]);
    ok(user.identities[0].id.length > 0, "the identity has no id");
    equal(user.providerType, "anon-user");
    const { id: told, state, customData } = JSON.parse(JSON.stringify(user));
    equal([told, state, customData], [user.id, "active", {}]);
  });

  check("6", "a second anonymous login", async () => {
    const [app, user] = await guest();
    const again = await app.logIn(R.Credentials.anonymous());
    // Before 2.0.1 it makes a user; only the SDK can know better.
    equal([again === user, again.id === user.id], [reuses, reuses]);
    equal(await seen(), reuses ? ["GET /auth/profile A"] : LOGIN);
  });

  check("7 8", "a guest beside another", async () => {
    const [app, first] = await guest();
    const second = await anew(app);
    ok(first.id !== second.id, "they are one user");
    equal(Object.keys(app.allUsers).sort(), [first.id, second.id].sort());
    ok(app.currentUser === second, "the newest is not the current one");

    app.switchUser(first);
    ok(app.currentUser === first, "the current user did not change");
  });

  check("9 16", "the current user logs out, the other one goes on", async () => {
    const [app, first] = await guest();
    const second = await anew(app);
    const { refreshToken } = second;
    await requests();
    await second.logOut();

    const [request, ...others] = await requests();
    equal([others.length, request.method, request.bearer === refreshToken, request.status], [0, "DELETE", true, 204]);
    equal([request.type, request.answer], [null, ""]);
    ok(app.currentUser === first, "the other user is not the current one");
    ok(app.allUsers[second.id] === second, "the user is gone");
    equal([second.state, second.isLoggedIn, second.accessToken, second.refreshToken], ["logged-out", false, null, null]);
    equal(first.state, "active");
    await first.refreshProfile();

    const { status, body } = await kit.http("POST", "/auth/session", refreshToken);
    equal([status, body.error_code], [401, "InvalidSession"]);
    ok(body.error.includes("failed to find refresh token"), body.error);
  });

  check("10", "a user is removed from the device", async () => {
    const [app, first] = await guest();
    const second = await anew(app);
    await requests();
    await app.removeUser(second);

    equal(await seen(), [LOG_OUT]);
    equal([second.state, Object.keys(app.allUsers)], ["removed", [first.id]]);
    ok(app.currentUser === first, "the other user is not the current one");
    equal((await operator("facts", second.id)).is_guest, true);
  });

  check("11", "who comes back is still there, and nobody is asked", async () => {
    const [, user] = await guest();
    const again = newApp();

    const found = again.currentUser;
    equal([found.id, found.accessToken, found.refreshToken], [user.id, user.accessToken, user.refreshToken]);
    equal([found.profile, types(found.identities), found.state], [{}, ["anon-user"], "active"]);
    equal(await seen(), []);
    await found.refreshProfile();
    equal(await seen(), [LOCATION, "GET /auth/profile A"]);
  });

  check("12", "two apps on one storage", async () => {
    const [one, other] = [newApp(), newApp()];
    const users = [await one.logIn(R.Credentials.anonymous()), await other.logIn(R.Credentials.anonymous())];
    const ids = users.map((user) => user.id).sort();
    ok(ids[0] !== ids[1], "they are one user");
    equal(JSON.parse(storage().get(`app(${id}):userIds`)).sort(), ids);
    equal(Object.keys(newApp().allUsers).sort(), ids);
  });

  check("13", "a broken storage is thrown away", async () => {
    await guest();
    storage().set(`app(${id}):userIds`, '{"');
    const app = newApp();
    equal(Object.keys(app.allUsers), []);
    equal(storage().get(`app(${id}):userIds`), null);
    const user = await app.logIn(R.Credentials.anonymous());
    equal(app.currentUser.id, user.id);
  });

  check("14", "an access token that is refused is replaced", async () => {
    const [, user] = await guest();
    user.accessToken = FORGED;
    await user.refreshProfile();

    const [refused, refresh, again, ...others] = await requests();
    equal(others, []);
    equal([refused.bearer, refused.status, refused.type], [FORGED, 401, "application/json"]);
    equal(JSON.parse(refused.answer).error_code, "InvalidSession");
    equal([refresh.method, refresh.path, refresh.status], ["POST", "/api/client/v2.0/auth/session", 201]);
    equal([refresh.bearer, Object.keys(JSON.parse(refresh.answer))], [user.refreshToken, ["access_token"]]);
    equal([again.path, again.bearer, again.status], [refused.path, user.accessToken, 200]);
    equal(kit.claims(user.accessToken).sub, user.id);
  });

  check("14", "so is one that a function is called with", async () => {
    const [, user] = await guest();
    user.accessToken = FORGED;
    const error = await rejected(user.callFunction("greet", 1));
    equal(told(error), [404, "FunctionNotFound", "function not found: 'greet'"]);
    equal(await seen(), ["POST {a}/functions/call A", REFRESH, "POST {a}/functions/call A"]);
    equal(user.state, "active");
  });

  check("15 39", "a guest whose sessions were ended is told so, once", async () => {
    const [app, user] = await guest();
    await operator("revoke", user.id);
    const error = await rejected(user.refreshProfile());

    equal([error.statusCode, error.errorCode], [401, "InvalidSession"]);
    equal(await seen(), ["GET /auth/profile A", REFRESH]);
    equal([user.accessToken, user.refreshToken, user.state], [null, null, "logged-out"]);
    equal(app.currentUser, null);
    const next = await anew(app);
    ok(next.id !== user.id, "the guest has come back");
  });

  check("39", "so is who refreshes", async () => {
    const [, user] = await guest();
    await operator("revoke", user.id);
    const error = await rejected(user.refreshCustomData());
    equal([error.statusCode, error.errorCode], [401, "InvalidSession"]);
    ok(error.error.includes("failed to find refresh token"), error.error);
    equal(await seen(), [REFRESH]);
    equal(user.state, "logged-out");
  });

  check("17", "who logs out after the session has ended forgets it all the same", async () => {
    const [, user] = await guest();
    await operator("revoke", user.id);
    // 1.3 does not know yet that "failed to find refresh token" is as good as done.
    await (positional ? rejected(user.logOut()) : user.logOut());
    equal(await seen(), [LOG_OUT]);
    equal([user.accessToken, user.refreshToken, user.state], [null, null, "logged-out"]);
  });

  check("17", "who logs out while the server is away forgets it, too", async () => {
    const [, user] = await guest();
    await operator("go_away");
    equal((await rejected(user.logOut())).statusCode, 503);
    equal([user.accessToken, user.refreshToken, user.state], [null, null, "logged-out"]);
  });

  check("40", "a guest who was disabled for a while is the same one", async () => {
    const [app, user] = await guest();
    const { refreshToken } = user;
    await operator("disable", user.id);
    equal(told(await rejected(user.refreshProfile())).slice(0, 2), [403, "UserDisabled"]);
    equal(told(await rejected(user.refreshCustomData())).slice(0, 2), [403, "UserDisabled"]);
    equal(await seen(), ["GET /auth/profile A", REFRESH]);
    equal([user.state, user.refreshToken], ["active", refreshToken]);

    await operator("enable", user.id);
    await user.refreshProfile();
    await user.refreshCustomData();
    ok(app.currentUser === user, "it is not the current user");
    equal([user.state, types(user.identities)], ["active", ["anon-user"]]);
  });

  check("", "a guest of the other SDK comes in as the same person", async () => {
    const { access_token: token } = await kit.guestOfAuthgear();
    const app = newApp();
    const user = await app.logIn(R.Credentials.jwt(token));
    equal(await seen(), [LOCATION, "POST {a}/auth/providers/custom-token/login -", "GET /auth/profile A"]);
    equal([user.state, types(user.identities)], ["active", ["anon-user"]]);
    equal(await operator("facts", user.id), { sub: kit.claims(token).sub, is_guest: true });
    equal((await app.logIn(R.Credentials.jwt(token))).id, user.id);

    const junk = await rejected(app.logIn(R.Credentials.jwt(FORGED)));
    equal(told(junk), [404, "AuthProviderNotFound", "authentication provider not found"]);
  });

  check("1", "an app that there is none of", async () => {
    const app = newApp({ id: "no-such-app-zzzzz" });
    const error = await rejected(app.logIn(R.Credentials.anonymous()));
    equal(told(error), [404, "AppNotFound", "cannot find app using Client App ID 'no-such-app-zzzzz'"]);
    equal((await requests()).length, 1);
  });

  kit.emailSuite({ newApp, anew, guest, call, register, told, storage });
};
